import type { Graph, Value } from '../../ir/graph.ts';
import { eraseDead } from '../../ir/rewrite.ts';
import { extract, type Slice } from '../../ir/slice.ts';
import type { TensorType } from '../../ir/types.ts';
import { pick, typeOfArray, type Feeds, type Spool } from '../infra/executor.ts';
import { sampleAt, type Decoding, type PassContext, type Samples, type Services } from '../infra/pass.ts';
import { blocks } from './blocks.ts';

/** What a sweep asks of the world. */
export interface SweepContext {
  readonly services: Pick<Services, 'executor' | 'spool'>;
  readonly signal: AbortSignal;
  readonly progress: PassContext['progress'];
}

export interface SweepSettings {
  /** Bytes of constants that a block has at least. */
  readonly least?: number | undefined;
  /** Adds what is to be computed beside a block; `copies` has the copy in the block of each value. Outputs that it adds reach `onSample`. */
  readonly augment: (block: Graph, copies: ReadonlyMap<Value, Value>) => void;
  /** Whether the tokens behind the samples go through, too. */
  readonly decode?: boolean;
  /** Gets what the block gave out and what was alive before it, for the sample and for each of the tokens behind it. */
  readonly onSample: (sample: number, values: Feeds, steps: readonly Feeds[]) => void | Promise<void>;
}

/**
 * Runs a graph over samples one block at a time: all samples through the first block, then all through the second. Only one
 * block's weights are in memory; the activations between blocks lie in the spool. So do those of the tokens behind a sample; of caches, only
 * those of one sample in one block are held, because each token follows the one before it while the block is loaded.
 */
export async function sweep(graph: Graph, samples: Samples, ctx: SweepContext, settings: SweepSettings): Promise<void> {
  const decoding = (settings.decode && samples.decoding) || null;
  const parts = partsFor(graph, decoding, settings.least);
  const inputs = graph.inputs.map((v) => v.name);
  const spool = ctx.services.spool();
  try {
    const runs: (readonly string[])[] = [];
    for (let s = 0; s < samples.length; s++) runs.push(await putRuns(spool, s, await sampleAt(samples, s), decoding));
    // Graph inputs stay at hand to the end: what is computed beside a slice may read them (the attention mask).
    const later = laterInputs(parts);
    const carried = new Set(Object.values(decoding?.carry ?? {}));
    const always = inputs.filter((name) => !carried.has(name));
    for (const [k, part] of parts.entries()) {
      const needed = new Set([...later[k]!, ...always]);
      await runBlock(part, needed, ctx, settings, {
        spool,
        runs,
        carry: decoding?.carry ?? {},
        done: k * samples.length,
        total: parts.length * samples.length,
      });
    }
  } finally {
    await spool.close();
  }
}

/** Puts a sample and the tokens behind it into the spool; gives their keys. */
async function putRuns(spool: Spool, sample: number, feeds: Feeds, decoding: Decoding | null): Promise<readonly string[]> {
  const all = [feeds, ...(decoding?.steps(sample) ?? [])];
  const keys = all.map((_, step) => (step === 0 ? String(sample) : `${sample}.${step}`));
  for (const [step, key] of keys.entries()) await spool.put(key, all[step]!);
  return keys;
}

/** The blocks of a graph; one where a block would read a cache before another one has made it. */
function partsFor(graph: Graph, decoding: Decoding | null, least: number | undefined): readonly Slice[] {
  const parts = blocks(graph, least);
  const isInOrder = ([output, input]: readonly [string, string]): boolean => {
    const maker = parts.findIndex((p) => p.outputs.some((v) => v.name === output));
    const reader = parts.findIndex((p) => p.inputs.some((v) => v.name === input));
    return reader === -1 || maker <= reader;
  };
  return Object.entries(decoding?.carry ?? {}).every(isInOrder) ? parts : blocks(graph, Infinity);
}

/** A graph whose outputs come sample by sample. */
export interface SampleProgram {
  run(sample: number): Promise<Feeds>;
  close(): Promise<void>;
}

/**
 * Runs all blocks of a graph but the last over samples, and loads the last, so that outputs which are large (logits) are kept nowhere. A
 * graph of one block runs as it is.
 */
export async function runToLast(graph: Graph, samples: Samples, ctx: SweepContext, least?: number): Promise<SampleProgram> {
  const parts = blocks(graph, least);
  const last = parts.at(-1);
  const outputs = graph.outputs.map((v) => v.name);
  const spool = ctx.services.spool();
  try {
    for (let s = 0; s < samples.length; s++) await spool.put(String(s), await sampleAt(samples, s));
    const later = laterInputs(parts);
    const runs = Array.from({ length: samples.length }, (_, s) => [String(s)]);
    const [total, quiet] = [(parts.length - 1) * samples.length, { augment: () => {}, onSample: () => {} }];
    for (const [k, part] of parts.slice(0, -1).entries())
      await runBlock(part, new Set([...later[k]!, ...outputs]), ctx, quiet, { spool, runs, carry: {}, done: k * samples.length, total });
    const end = last ? loose(last, graph, await spool.get('0')) : graph;
    const program = await ctx.services.executor.load(end);
    const reads = end.inputs.map((v) => v.name);
    return {
      async run(sample) {
        const alive = await spool.get(String(sample));
        return pick({ ...alive, ...(await program.run(pick(alive, reads))) }, outputs);
      },
      async close() {
        await program.close();
        await spool.close();
      },
    };
  } catch (error) {
    await spool.close();
    throw error;
  }
}

/** The last block as a graph of its own, with those of the whole graph's outputs that it makes or that are constants. */
function loose(last: Slice, graph: Graph, first: Feeds): Graph {
  const made = graph.outputs.filter((v) => v.constant || last.outputs.includes(v));
  return extract(graph.name, last, made, typeIn(first)).graph;
}

interface Place {
  readonly spool: Spool;
  /** The keys of what goes in for each sample: itself, and the tokens behind it. */
  readonly runs: readonly (readonly string[])[];
  readonly carry: Decoding['carry'];
  readonly done: number;
  readonly total: number;
}

async function runBlock(part: Slice, needed: ReadonlySet<string>, ctx: SweepContext, settings: SweepSettings, place: Place): Promise<void> {
  const first = await place.spool.get('0');
  const crossing = part.outputs.filter((v) => needed.has(v.name) || v.name in place.carry);
  const { graph, copies } = extract('block', part, crossing, typeIn(first));
  settings.augment(graph, copies);
  eraseDead(graph);
  if (graph.outputs.length === 0) return;
  const program = await ctx.services.executor.load(graph);
  const reads = graph.inputs.map((v) => v.name);
  try {
    for (const [s, keys] of place.runs.entries()) {
      ctx.signal.throwIfAborted();
      const values: Feeds[] = [];
      let caches: Feeds = {};
      for (const key of keys) {
        const alive = { ...(await place.spool.get(key)), ...caches };
        const outputs = await program.run(pick(alive, reads));
        caches = carriedFrom(outputs, place.carry);
        values.push({ ...alive, ...outputs });
        await place.spool.put(key, pick(values.at(-1)!, needed));
      }
      await settings.onSample(s, values[0]!, values.slice(1));
      ctx.progress(place.done + s + 1, place.total, 'samples');
    }
  } finally {
    await program.close();
  }
}

/** The caches that a run gave out, under the names of the inputs that they are next. */
const carriedFrom = (outputs: Feeds, carry: Decoding['carry']): Feeds =>
  Object.fromEntries(Object.entries(carry).flatMap(([output, input]) => (outputs[output] ? [[input, outputs[output]] as const] : [])));

/** For each block the names that blocks after it read. */
function laterInputs(parts: readonly Slice[]): readonly ReadonlySet<string>[] {
  return parts.map((_, k) => new Set(parts.slice(k + 1).flatMap((p) => p.inputs.map((v) => v.name))));
}

/** Inputs of a block must have element types; what inference left open, or has wrong, is known from the data. */
const typeIn =
  (feeds: Feeds) =>
  (v: Value): TensorType | null => {
    const array = feeds[v.name];
    return array && v.type?.dtype !== array.dtype ? typeOfArray(array) : v.type;
  };

/** Has a block give out these values of the graph, as far as it makes them. */
export function giveOut(block: Graph, copies: ReadonlyMap<Value, Value>, values: Iterable<Value>): void {
  for (const v of values) {
    const copy = copies.get(v);
    if (copy?.producer && !block.outputs.includes(copy)) block.addOutput(copy);
  }
}
