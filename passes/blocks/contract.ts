import { cloneGraph } from '../../ir/clone.ts';
import { fail } from '../../ir/diagnostics.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import { inferTypes } from '../../ir/shapes/infer.ts';
import { isFloat } from '../../ir/types.ts';
import { largestDifference, numbersIn } from '../infra/difference.ts';
import { runOnce, type Executor, type Feeds, type HostTensor } from '../infra/executor.ts';
import type { PassCheck } from '../infra/manager.ts';
import type { Pass } from '../infra/pass.ts';
import { compare, type Divergence } from './compare.ts';
import { referenceOf, type Reference } from './reference.ts';
import { giveOut, sweep, type SweepContext } from './sweep.ts';

/** Largest difference of an exact pass, relative to the largest magnitude of the values. */
export const exactTolerance = 1e-4;

/**
 * Holds exact passes to their word: after each, the parts that it changed run on the arrays that the graph had there before the pass, and
 * what they give is compared. A difference is QC3001, which names the first value that differs and stays different.
 */
export class ContractCheck implements PassCheck {
  readonly #ctx: SweepContext;
  readonly #parent: ContractCheck | null;
  readonly #probe: Feeds;
  #reference: Reference | null;
  #before: Graph;
  #worst = 0;
  private constructor(ctx: SweepContext, probe: Feeds, reference: Reference, parent: ContractCheck | null = null) {
    this.#ctx = ctx;
    this.#parent = parent;
    this.#probe = probe;
    this.#reference = reference;
    this.#before = reference.graph;
  }
  /** Runs `graph` once for the reference; QC2107 when an output has no finite number, so that there is nothing to compare with. */
  static async start(ctx: SweepContext, graph: Graph, probe: Feeds): Promise<ContractCheck> {
    const reference = await referenceOf(graph, probe, ctx);
    const outputs = await reference.values(graph.outputs.map((v) => v.name));
    const lost = graph.outputs.find((v) => outputs[v.name] && !hasNumbers(outputs[v.name]!));
    if (lost) await blameLost(ctx, graph, probe, lost);
    return new ContractCheck(ctx, probe, reference);
  }
  /** The largest relative difference that an exact pass has made so far: rounding. */
  get worst(): number {
    return this.#worst;
  }
  /** Compares after an exact pass; after an approximate one the graph is the reference of what follows. */
  async after(graph: Graph, pass: Pick<Pass, 'name' | 'contract'>): Promise<void> {
    if (pass.contract === 'approximate') await this.#forget();
    else await this.#compare(graph, pass.name);
    this.#before = cloneGraph(graph);
  }
  async on(part: Graph, probe: Feeds): Promise<ContractCheck> {
    return new ContractCheck(this.#ctx, probe, await referenceOf(part, probe, this.#ctx), this);
  }
  async close(): Promise<void> {
    await this.#forget();
  }
  #note(worst: number): void {
    this.#worst = Math.max(this.#worst, worst);
    if (this.#parent) this.#parent.#note(worst);
  }
  async #forget(): Promise<void> {
    await this.#reference?.close();
    this.#reference = null;
  }
  async #compare(graph: Graph, pass: string): Promise<void> {
    const { executor } = this.#ctx.services;
    const reference = { ...(this.#reference ?? (await referenceOf(this.#before, this.#probe, this.#ctx))), graph: this.#before };
    const { worst, divergence, cuts } = await compare(reference, graph, this.#ctx, { tolerance: exactTolerance, executor });
    if (divergence) await blame(executor, pass, divergence);
    // Where a basis has changed, the arrays say nothing of later passes.
    this.#reference = { ...reference, cuts };
    this.#note(worst);
  }
}

/** Throws QC3001. */
async function blame(executor: Executor, pass: string, found: Divergence): Promise<never> {
  const culprit = await firstLastingDifference(executor, found);
  return fail(
    'QC3001',
    `pass ${pass} must not change what the model computes, but the outputs differ by ${found.difference.toExponential(1)} relative`,
    culprit?.producer?.loc,
    culprit ? { notes: [`%${culprit.name} is the first value from which all that follows differs`] } : {},
  );
}

/** Whether an array has a finite number, or is no array of floats, or has no elements. */
function hasNumbers(t: HostTensor): boolean {
  const numbers = numbersIn(t);
  if (!isFloat(t.dtype) || numbers.length === 0) return true;
  for (let i = 0; i < numbers.length; i++) if (Number.isFinite(Number(numbers[i]))) return true;
  return false;
}

/** Names the first value without a finite number. */
async function blameLost(ctx: SweepContext, graph: Graph, probe: Feeds, lost: Value): Promise<never> {
  const typed = cloneGraph(graph);
  inferTypes(typed);
  const floats = floatResults(typed);
  let first: Value | undefined;
  await sweep(typed, [probe], ctx, {
    augment: (block, copies) => giveOut(block, copies, floats),
    onSample: (_, seen) => void (first ??= floats.find((v) => seen[v.name] && !hasNumbers(seen[v.name]!))),
  });
  const blamed = first ?? lost;
  return fail(
    'QC2107',
    `%${blamed.name} is NaN or infinite throughout on the first sample, and so is the output %${lost.name}`,
    blamed.producer?.loc,
    { hint: 'check the model in float on this data; a weight that is not finite does this' },
  );
}

const floatResults = (graph: Graph): readonly Value[] =>
  [...graph.nodes].flatMap((n) => n.outputs).filter((v) => v.type !== null && isFloat(v.type.dtype));

/**
 * The first value, in order, after the last one on which both graphs agree. Values inside a changed basis differ rightly;
 * a mistake is where agreement ends for good.
 */
async function firstLastingDifference(executor: Executor, { before, after, feeds }: Divergence): Promise<Value | null> {
  inferTypes(after);
  const names = new Set([...before.nodes].flatMap((n) => n.outputs.map((o) => o.name)));
  const common = floatResults(after).filter((v) => names.has(v.name));
  const wanted = common.map((v) => v.name);
  const [a, b] = [await runOnce(executor, exposing(before, wanted), feeds), await runOnce(executor, exposing(after, wanted), feeds)];
  const agrees = (v: Value): boolean => {
    const [x, y] = [a[v.name], b[v.name]];
    return x !== undefined && y !== undefined && largestDifference({ x }, { x: y }) <= exactTolerance;
  };
  const last = common.findLastIndex(agrees);
  return common[last + 1] ?? null;
}

/** A copy of `graph` whose outputs are the values of these names. */
function exposing(graph: Graph, names: readonly string[]): Graph {
  const copy = cloneGraph(graph);
  const wanted = new Set(names);
  copy.setOutputs([...copy.nodes].flatMap((n) => n.outputs.filter((out) => wanted.has(out.name))));
  return copy;
}
