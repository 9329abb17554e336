import type { Graph, Value } from '../../ir/graph.ts';
import { extract, slices, type Slice } from '../../ir/slice.ts';
import type { Feeds, HostTensor } from './executor.ts';
import type { PassContext } from './pass.ts';

/** Bytes of weights that one slice of a sweep may hold. */
export const sliceBudget = 256 * 2 ** 20;

export interface SweepSettings {
  readonly budget?: number;
  /** Adds what is to be computed beside the slice; `twin` gives the slice's copy of a value. Outputs that it adds reach `onSample`. */
  readonly augment: (slice: Graph, twin: ReadonlyMap<Value, Value>) => void;
  /** Gets what the slice gave out and what was alive before it. */
  readonly onSample: (sample: number, values: Feeds) => void | Promise<void>;
}

/**
 * Runs a graph over samples one slice at a time: all samples through the first slice, then all through the second. Only one
 * slice's weights are in memory; the activations between slices lie in the spool.
 */
export async function sweep(graph: Graph, samples: readonly Feeds[], ctx: PassContext, settings: SweepSettings): Promise<void> {
  const parts = slices(graph, settings.budget ?? sliceBudget);
  const inputs = graph.inputs.map((v) => v.name);
  const spool = ctx.services.spool();
  try {
    for (const [s, feeds] of samples.entries()) await spool.put(String(s), feeds);
    // Graph inputs stay at hand to the end: what is computed beside a slice may read them (the attention mask).
    const needed = laterInputs(parts).map((names) => new Set([...names, ...inputs]));
    for (const [k, part] of parts.entries()) {
      await runSlice(part, needed[k]!, samples.length, ctx, settings, {
        spool,
        done: k * samples.length,
        total: parts.length * samples.length,
      });
    }
  } finally {
    await spool.close();
  }
}

interface Place {
  readonly spool: ReturnType<PassContext['services']['spool']>;
  readonly done: number;
  readonly total: number;
}

async function runSlice(
  part: Slice,
  needed: ReadonlySet<string>,
  samples: number,
  ctx: PassContext,
  settings: SweepSettings,
  place: Place,
): Promise<void> {
  const first = await place.spool.get('0');
  const crossing = part.outputs.filter((v) => needed.has(v.name));
  const { graph, twin } = extract('slice', withTypes(part, first), crossing);
  settings.augment(graph, twin);
  if (graph.outputs.length === 0) return;
  const program = await ctx.services.executor.load(graph);
  try {
    for (let s = 0; s < samples; s++) {
      ctx.signal.throwIfAborted();
      const alive = await place.spool.get(String(s));
      const outputs = await program.run(
        pick(
          alive,
          graph.inputs.map((v) => v.name),
        ),
      );
      await settings.onSample(s, { ...alive, ...outputs });
      await place.spool.put(String(s), pick({ ...alive, ...outputs }, [...needed]));
      ctx.progress(place.done + s + 1, place.total, 'samples');
    }
  } finally {
    await program.close();
  }
}

/** For each slice the names that slices after it read. */
function laterInputs(parts: readonly Slice[]): readonly ReadonlySet<string>[] {
  return parts.map((_, k) => new Set(parts.slice(k + 1).flatMap((p) => p.inputs.map((v) => v.name))));
}

/** Inputs of a slice must have element types; what inference left open is known from the data. */
function withTypes(part: Slice, feeds: Feeds): Slice {
  for (const v of part.inputs) {
    const data: HostTensor | undefined = feeds[v.name];
    if (data && v.type?.dtype !== data.dtype) part.nodes[0]!.graph!.setType(v, { dtype: data.dtype, shape: data.shape.map(() => null) });
  }
  return part;
}

const pick = (feeds: Feeds, names: readonly string[]): Feeds =>
  Object.fromEntries(names.flatMap((n) => (feeds[n] ? [[n, feeds[n]] as const] : [])));
