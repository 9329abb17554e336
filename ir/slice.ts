import { cloneNode } from './clone.ts';
import { Graph, type Node, type Value } from './graph.ts';
import { bytesFor, sizeOf } from './types.ts';

/** Consecutive nodes of a graph, with the values that cross into them and out of them. */
export interface Slice {
  readonly nodes: readonly Node[];
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
}

/** The values that a node reads, those captured by its bodies included. */
export function readsOf(node: Node): readonly Value[] {
  const direct = node.operands.flatMap((u) => u.value ?? []);
  return node.bodies.length === 0 ? direct : [...direct, ...node.bodies.flatMap(capturedBy)];
}

function capturedBy(body: Graph): readonly Value[] {
  const own = new Set([...body.inputs, ...body.constants, ...[...body.nodes].flatMap((n) => n.outputs)]);
  return [...[...body.nodes].flatMap(readsOf), ...body.outputs].filter((v) => !own.has(v));
}

/** Cuts a graph into runs of nodes with about `budget` bytes of constants each, where the fewest values are alive: between blocks. */
export function slices(graph: Graph, budget: number): readonly Slice[] {
  const nodes = [...graph.nodes];
  const alive = aliveAfter(graph, nodes);
  const cuts: number[] = [];
  let start = 0;
  let bytes = 0;
  let best = -1;
  for (let i = 0; i < nodes.length; i++) {
    bytes += constantBytes(nodes[i]!);
    if (best < start || alive[i]! <= alive[best]!) best = i;
    if (bytes <= budget || i === nodes.length - 1) continue;
    cuts.push(best + 1);
    start = best + 1;
    bytes = nodes.slice(start, i + 1).reduce((n, node) => n + constantBytes(node), 0);
    best = i;
  }
  const bounds = [0, ...cuts.filter((c) => c < nodes.length), nodes.length];
  return bounds.slice(1).map((end, k) => sliceOf(graph, nodes.slice(bounds[k], end)));
}

/** The crossing values of some nodes of a graph. */
export function sliceOf(graph: Graph, nodes: readonly Node[]): Slice {
  const inside = new Set(nodes);
  const made = new Set(nodes.flatMap((n) => n.outputs));
  const inputs = new Set(nodes.flatMap(readsOf).filter((v) => !made.has(v) && v.constant === null));
  const isRead = (v: Value) => graph.outputs.includes(v) || [...v.uses].some((u) => !inside.has(outermost(u.node, graph)));
  return { nodes, inputs: [...inputs], outputs: [...made].filter(isRead) };
}

/** The nodes of a slice as a graph of their own, which shares the tensors. `outputs` default to the slice's. */
export function extract(
  name: string,
  slice: Slice,
  outputs: readonly Value[] = slice.outputs,
): { readonly graph: Graph; readonly twin: ReadonlyMap<Value, Value> } {
  const root = rootOf(slice);
  const graph = new Graph(name);
  if (root) for (const [domain, version] of root.opsets) graph.opsets.set(domain, version);
  if (root) graph.carried = root.carried;
  const twin = new Map<Value, Value>();
  for (const v of slice.inputs) twin.set(v, graph.addInput(v.name, v.type));
  for (const node of slice.nodes) {
    for (const v of readsOf(node)) if (v.constant && !twin.has(v)) twin.set(v, graph.addConstant(v.name, v.constant));
    const made = graph.append(cloneNode(node, graph, twin));
    node.outputs.forEach((o, i) => twin.set(o, made.outputs[i]!));
  }
  for (const v of outputs) graph.addOutput(twin.get(v)!);
  return { graph, twin };
}

/** How many results of earlier nodes are still read after each node. */
function aliveAfter(graph: Graph, nodes: readonly Node[]): readonly number[] {
  const last = new Map<Value, number>();
  nodes.forEach((n, i) => readsOf(n).forEach((v) => last.set(v, i)));
  for (const v of graph.outputs) last.set(v, nodes.length);
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

/** The node of `graph` that holds `node`, which may lie in a body. */
function outermost(node: Node, graph: Graph): Node {
  let at = node;
  while (at.graph !== null && at.graph !== graph && at.graph.holder !== null) at = at.graph.holder;
  return at;
}

const rootOf = (slice: Slice): Graph | null => slice.nodes[0]?.graph ?? null;
