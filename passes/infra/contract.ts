import { fail } from '../../ir/diagnostics.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import { floatsFromHalf } from '../../ir/float16.ts';
import { inferTypes } from '../../ir/shapes/infer.ts';
import { isFloat } from '../../ir/types.ts';
import { cloneGraph } from '../../ir/clone.ts';
import type { Executor, Feeds, HostTensor } from './executor.ts';
import type { Pass } from './pass.ts';

/** Largest difference of an exact pass, relative to the largest magnitude of the output. */
export const exactTolerance = 1e-4;

/**
 * Holds exact passes to their word: runs the graph on probe inputs and compares with its outputs before the pass.
 * A difference is QC3001, which names the first value that differs and stays different.
 */
export class ContractCheck {
  readonly #executor: Executor;
  readonly #probe: Feeds;
  #reference: Feeds;
  #before: Graph;
  #worst = 0;
  private constructor(executor: Executor, probe: Feeds, reference: Feeds, before: Graph) {
    this.#executor = executor;
    this.#probe = probe;
    this.#reference = reference;
    this.#before = before;
  }
  /** Runs `graph` once for the reference; QC2107 when an output has no finite number, so that there is nothing to compare with. */
  static async start(executor: Executor, graph: Graph, probe: Feeds): Promise<ContractCheck> {
    const reference = await runOnce(executor, graph, probe);
    const lost = graph.outputs.find((v) => reference[v.name] && !hasNumbers(reference[v.name]!));
    if (lost) await blameLost(executor, graph, probe, lost);
    return new ContractCheck(executor, probe, reference, cloneGraph(graph));
  }
  /** The largest relative difference that an exact pass has made so far: rounding. */
  get worst(): number {
    return this.#worst;
  }
  /** The largest relative difference between `graph` and the outputs after the last pass that may change them. */
  async difference(graph: Graph): Promise<number> {
    return largestDifference(this.#reference, await runOnce(this.#executor, graph, this.#probe));
  }
  /** Compares after an exact pass; takes a new reference after an approximate one. */
  async after(graph: Graph, pass: Pick<Pass, 'name' | 'contract'>): Promise<void> {
    const now = await runOnce(this.#executor, graph, this.#probe);
    if (pass.contract === 'exact') {
      const worst = largestDifference(this.#reference, now);
      if (!(worst <= exactTolerance)) await this.#blame(graph, pass.name, worst);
      this.#worst = Math.max(this.#worst, worst);
    } else {
      this.#reference = now;
    }
    this.#before = cloneGraph(graph);
  }
  async #blame(graph: Graph, pass: string, worst: number): Promise<never> {
    const culprit = await firstLastingDifference(this.#executor, this.#before, graph, this.#probe);
    return fail(
      'QC3001',
      `pass ${pass} must not change what the model computes, but the outputs differ by ${worst.toExponential(1)} relative`,
      culprit?.producer?.loc,
      culprit ? { notes: [`%${culprit.name} is the first value from which all that follows differs`] } : {},
    );
  }
}

/** Whether an array has a finite number, or is no array of floats, or has no elements. */
function hasNumbers(t: HostTensor): boolean {
  const numbers = numbersIn(t);
  if (!isFloat(t.dtype) || numbers.length === 0) return true;
  for (let i = 0; i < numbers.length; i++) if (Number.isFinite(Number(numbers[i]))) return true;
  return false;
}

/** Names the first value without a finite number. */
async function blameLost(executor: Executor, graph: Graph, probe: Feeds, lost: Value): Promise<never> {
  const typed = cloneGraph(graph);
  inferTypes(typed);
  const floats = [...typed.nodes].flatMap((n) => n.outputs).filter((v) => v.type !== null && isFloat(v.type.dtype));
  const seen = await runOnce(
    executor,
    exposing(
      typed,
      floats.map((v) => v.name),
    ),
    probe,
  );
  const first = floats.find((v) => seen[v.name] && !hasNumbers(seen[v.name]!)) ?? lost;
  return fail(
    'QC2107',
    `%${first.name} is NaN or infinite throughout on the first sample, and so is the output %${lost.name}`,
    first.producer?.loc,
    {
      hint: 'check the model in float on this data; a weight that is not finite does this',
    },
  );
}

/** Runs `graph` on one set of feeds. */
export async function runOnce(executor: Executor, graph: Graph, feeds: Feeds): Promise<Feeds> {
  const program = await executor.load(graph);
  try {
    return await program.run(feeds);
  } finally {
    await program.close();
  }
}

/**
 * max |a - b| / max |a| over float outputs, but for elements that are NaN in `a` (padding whose row is masked altogether): they mean
 * nothing, so nothing is kept by keeping them. Infinite when shapes or infinities differ. Other outputs must be equal.
 */
export function largestDifference(a: Feeds, b: Feeds): number {
  return Object.entries(a).reduce((worst, [name, x]) => Math.max(worst, difference(x, b[name])), 0);
}

function difference(a: HostTensor, b: HostTensor | undefined): number {
  if (!b || a.data.length !== b.data.length) return Infinity;
  if (!isFloat(a.dtype)) return a.data.every((x, i) => x === b.data[i]) ? 0 : Infinity;
  return distance(numbersIn(a), numbersIn(b));
}

/** Halves come as codes. */
const numbersIn = ({ data }: HostTensor): ArrayLike<number | bigint> => (data instanceof Uint16Array ? floatsFromHalf(data) : data);

function distance(a: ArrayLike<number | bigint>, b: ArrayLike<number | bigint>): number {
  let largest = 0;
  let magnitude = 0;
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [Number(a[i]), Number(b[i])];
    if (Number.isFinite(x)) magnitude = Math.max(magnitude, Math.abs(x));
    if (Number.isNaN(x) || x === y) continue;
    largest = Number.isFinite(x) && Number.isFinite(y) ? Math.max(largest, Math.abs(x - y)) : Infinity;
    if (largest === Infinity) return Infinity;
  }
  return largest === 0 ? 0 : largest / Math.max(magnitude, 1e-12);
}

/**
 * The first value, in order, after the last one on which both graphs agree. Values inside a changed basis differ rightly;
 * a mistake is where agreement ends for good.
 */
async function firstLastingDifference(executor: Executor, before: Graph, after: Graph, probe: Feeds): Promise<Value | null> {
  const names = new Set([...before.nodes].flatMap((n) => n.outputs.map((o) => o.name)));
  const common = [...after.nodes].flatMap((n) => n.outputs).filter((v) => names.has(v.name) && v.type !== null && isFloat(v.type.dtype));
  const wanted = common.map((v) => v.name);
  const [a, b] = [await runOnce(executor, exposing(before, wanted), probe), await runOnce(executor, exposing(after, wanted), probe)];
  const agrees = (v: Value) => a[v.name] !== undefined && difference(a[v.name]!, b[v.name]) <= exactTolerance;
  const last = common.findLastIndex(agrees);
  return common[last + 1] ?? null;
}

/** A copy of `graph` whose outputs are the values of these names. */
function exposing(graph: Graph, names: readonly string[]): Graph {
  const copy = cloneGraph(graph);
  const wanted = new Set(names);
  copy.setOutputs([...copy.nodes].flatMap((node) => node.outputs.filter((out) => wanted.has(out.name))));
  return copy;
}
