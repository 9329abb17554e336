import type { Graph, Node, Value } from '../../ir/graph.ts';
import { Site } from '../../ir/ops/qc.ts';
import { readsOf, sliceOf, type Slice } from '../../ir/slice.ts';
import { bytesFor, sizeOf } from '../../ir/types.ts';
import { hasRole } from '../operators/index.ts';

/** Nodes between two cuts of a graph, with the values that enter and leave; what is expensive is done a block at a time. */
export interface Block extends Slice {
  /** Of the constants that its nodes read. */
  readonly bytes: number;
}

/** Neighbouring blocks that have fewer bytes together are one: each costs a session of ONNX Runtime. */
const leastBytes = 32 * 2 ** 20;

/**
 * Cuts a graph where the fewest values are alive: between the halves of a transformer's layer, only the residual stream and what all layers
 * read. A place of quantization, what it quantizes and what reads it stay together. A graph without such a cut is one block.
 */
export function blocks(graph: Graph, least = leastBytes): readonly Block[] {
  const nodes = sunk([...graph.nodes]);
  const bytes = nodes.map(constantBytes);
  const places = cutsOf(nodes, bytes);
  return joined(places, bytes, least).map(([start, end]) => ({
    ...sliceOf(graph, nodes.slice(start, end)),
    bytes: bytes.slice(start, end).reduce((a, b) => a + b, 0),
  }));
}

/** The nodes with those that depend on constants alone in front of their first readers, so that no transposed table lives through the graph. */
function sunk(nodes: readonly Node[]): readonly Node[] {
  const held = new Set<Node>();
  const order: Node[] = [];
  const place = (node: Node): void => {
    for (const { producer } of readsOf(node)) if (producer && held.delete(producer)) place(producer);
    order.push(node);
  };
  for (const node of nodes) {
    const reads = readsOf(node);
    if (reads.length > 0 && reads.every((v) => v.constant !== null || (v.producer !== null && held.has(v.producer)))) held.add(node);
    else place(node);
  }
  return [...order, ...held];
}

/** The positions behind which the graph may be cut. */
function cutsOf(nodes: readonly Node[], bytes: readonly number[]): readonly number[] {
  const alive = aliveAfter(nodes);
  const candidates = valleys(alive, closedCuts(nodes));
  const counts = [...new Set(candidates.map((i) => alive[i]!))].toSorted((a, b) => a - b);
  const ways = counts.map((most) => candidates.filter((i) => alive[i]! <= most));
  const sizes = ways.map((cuts) => meanSize(cuts, bytes));
  // What every layer reads dies with the last one, so the fewest values that are alive anywhere say little.
  const smallest = Math.min(...sizes);
  return ways.find((_, k) => sizes[k]! <= 1.5 * smallest) ?? [];
}

/** The first open position of every stretch where fewer values are alive than before and behind it. */
function valleys(alive: readonly number[], closed: readonly boolean[]): readonly number[] {
  const found: number[] = [];
  for (let start = 0, end = 0; start < alive.length - 1; start = end) {
    for (end = start + 1; end < alive.length && alive[end] === alive[start]; end++);
    const isLow = (alive[start - 1] ?? Infinity) > alive[start]! && end < alive.length && alive[end]! > alive[start]!;
    const open = alive.slice(start, end).findIndex((_, k) => !closed[start + k]);
    if (isLow && open !== -1) found.push(start + open);
  }
  return found;
}

/** The mean size of the block that a byte lies in. */
function meanSize(cuts: readonly number[], bytes: readonly number[]): number {
  const sums = joined(cuts, bytes, 0).map(([start, end]) => bytes.slice(start, end).reduce((a, b) => a + b, 0));
  const total = sums.reduce((a, b) => a + b, 0);
  return total === 0 ? 0 : sums.reduce((a, b) => a + b * b, 0) / total;
}

/** The runs of nodes between cuts, each with at least `least` bytes but for the last one. */
function joined(cuts: readonly number[], bytes: readonly number[], least: number): readonly (readonly [number, number])[] {
  const runs: (readonly [number, number])[] = [];
  let start = 0;
  let sum = 0;
  let at = 0;
  for (const end of [...cuts.map((c) => c + 1), bytes.length]) {
    for (; at < end; at++) sum += bytes[at]!;
    if (end < bytes.length && sum < least) continue;
    if (end > start || runs.length === 0) runs.push([start, end]);
    start = end;
    sum = 0;
  }
  return runs;
}

/** For every position whether a cut behind it would part a site from what it quantizes or from a reader. */
function closedCuts(nodes: readonly Node[]): readonly boolean[] {
  const place = new Map(nodes.map((n, i) => [n, i] as const));
  const closed = nodes.map(() => false);
  nodes.forEach((node, i) => {
    if (node.op !== Site.schema.op) return;
    const first = place.get(originOf(node)) ?? i;
    const last = Math.max(i, ...readersOf(node).map((reader) => place.get(reader) ?? i));
    closed.fill(true, first, last);
  });
  return closed;
}

/** What makes the value of a site, before what belongs to the site in front of it. */
function originOf(site: Node): Node {
  let at = site;
  for (let above = at.input(0)?.producer; above; above = belongsToSite(at) ? at.input(0)?.producer : null) at = above;
  return at;
}

/** A mark, a change of basis or a quantizer. */
const belongsToSite = (node: Node): boolean => hasRole(node, 'marker') || hasRole(node, 'quantizer');

const readersOf = (node: Node): readonly Node[] =>
  [...node.output.uses].flatMap((u) => (belongsToSite(u.node) ? [u.node, ...readersOf(u.node)] : [u.node]));

/** How many results of earlier nodes later ones still read, after each node. An output that nothing reads is given out and gone. */
function aliveAfter(nodes: readonly Node[]): readonly number[] {
  const last = new Map<Value, number>();
  nodes.forEach((n, i) => readsOf(n).forEach((v) => last.set(v, i)));
  const ends = new Array<number>(nodes.length + 1).fill(0);
  let alive = 0;
  return nodes.map((n, i) => {
    for (const out of n.outputs) {
      const end = last.get(out) ?? -1;
      if (end > i) {
        alive++;
        ends[end]!++;
      }
    }
    alive -= ends[i]!;
    return alive;
  });
}

const constantBytes = (node: Node): number =>
  node.operands.reduce((n, { value }) => n + (value?.constant ? bytesFor(value.constant.dtype, sizeOf(value.constant.shape)) : 0), 0);
