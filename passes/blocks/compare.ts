import type { Graph, Value } from '../../ir/graph.ts';
import { extract } from '../../ir/slice.ts';
import { encodeFloats } from '../../ir/tensor.ts';
import { isFloat, type DType } from '../../ir/types.ts';
import { largestDifference } from '../infra/difference.ts';
import { pick, runOnce, typeOfArray, type Executor, type Feeds, type HostTensor } from '../infra/executor.ts';
import { partOf, type Part } from './parts.ts';
import type { Cut, Reference } from './reference.ts';
import type { SweepContext } from './sweep.ts';

/** Where two graphs part: what computes the same values from the same arrays in one and in the other. */
export interface Divergence {
  readonly before: Graph;
  readonly after: Graph;
  readonly feeds: Feeds;
  readonly difference: number;
}

export interface Comparison {
  /** The largest relative difference at a cut where both agree. */
  readonly worst: number;
  /** The part from which on they agree nowhere; null when they do at all outputs. */
  readonly divergence: Divergence | null;
  /** The cuts at which they agree. */
  readonly cuts: Reference['cuts'];
}

export interface CompareSettings {
  /** The largest relative difference at which two values agree. */
  readonly tolerance: number;
  readonly executor: Executor;
}

/**
 * Compares a graph with a reference, a part between two cuts at a time: a part that has changed runs on the reference's arrays, and what it
 * gives is compared with the reference's. Parts that are the same are not run. Where the values at a cut differ, in number or in name, the
 * part goes on to the next cut: inside a changed basis values differ rightly, at the outputs they do not.
 */
export async function compare(reference: Reference, after: Graph, ctx: SweepContext, settings: CompareSettings): Promise<Comparison> {
  const [old, now] = [valuesByName(reference.graph), valuesByName(after)];
  const known = new Set(reference.graph.inputs.map((v) => v.name));
  const cuts: Cut[] = [];
  let worst = 0;
  let divergence: Divergence | null = null;
  for (const cut of reference.cuts) {
    ctx.signal.throwIfAborted();
    const terms = cut.terms.filter((name) => old.has(name) && now.has(name));
    const open = [...cut.crossing, ...terms].filter((name) => !known.has(name));
    const [was, is] = [valuesOf(old, open), valuesOf(now, open)];
    if (!was || !is) continue;
    const [before, part] = [partOf(reference.graph, was, known), partOf(after, is, known)];
    const changed = before.signature === part.signature ? null : await run(reference, part, settings.executor);
    const difference = changed ? largestDifference(pick(changed.expected, cut.crossing), changed.found) : 0;
    const agree = difference <= settings.tolerance;
    divergence = agree
      ? null
      : { before: extracted('before', before, changed!.feeds), after: changed!.graph, feeds: changed!.feeds, difference };
    if (!agree) continue;
    worst = Math.max(worst, difference);
    cuts.push(cut);
    // A term may be in another basis where what it is a term of is not.
    const isSame = (name: string): boolean =>
      !changed || largestDifference(pick(changed.expected, [name]), changed.found) <= settings.tolerance;
    for (const name of [...cut.crossing, ...terms.filter(isSame)]) known.add(name);
  }
  return { worst, divergence, cuts };
}

interface PartRun {
  readonly graph: Graph;
  readonly feeds: Feeds;
  /** What the reference has for the outputs, and what the run gave. */
  readonly expected: Feeds;
  readonly found: Feeds;
}

/** Runs a part on the reference's arrays. */
async function run(reference: Reference, part: Part, executor: Executor): Promise<PartRun> {
  const feeds = await reference.values(part.inputs.map((v) => v.name));
  const graph = extracted('after', part, feeds);
  const expected = await reference.values(part.outputs.map((v) => v.name));
  return { graph, feeds, expected, found: await runOnce(executor, graph, fitted(graph, feeds)) };
}

/** A part as a graph of its own. Its inputs must have element types; what inference left open is known from the data. */
const extracted = (name: string, part: Part, feeds: Feeds): Graph =>
  extract(name, part, part.outputs, (v) => v.type ?? typeOfArray(feeds[v.name])).graph;

/** The arrays in the float types that the inputs of a graph have. */
const fitted = (graph: Graph, feeds: Feeds): Feeds =>
  Object.fromEntries(graph.inputs.flatMap((v) => (feeds[v.name] ? [[v.name, asType(feeds[v.name]!, v.type?.dtype)] as const] : [])));

function asType(array: HostTensor, dtype: DType | undefined): HostTensor {
  if (!dtype || dtype === array.dtype || !isFloat(dtype) || !(array.data instanceof Float32Array)) return array;
  return { dtype, shape: array.shape, data: encodeFloats(dtype, array.data) };
}

const valuesByName = (graph: Graph): ReadonlyMap<string, Value> =>
  new Map([...graph.inputs, ...graph.constants, ...[...graph.nodes].flatMap((n) => n.outputs)].map((v) => [v.name, v] as const));

/** The values of these names; null when one of them is not there. */
function valuesOf(values: ReadonlyMap<string, Value>, names: readonly string[]): readonly Value[] | null {
  const found = names.flatMap((name) => values.get(name) ?? []);
  return found.length === names.length ? found : null;
}
