import type { Attribute, Attributes } from '../../ir/attributes.ts';
import { diagnostic, fail } from '../../ir/diagnostics.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import type { Observer } from '../../ir/ops/qc.ts';
import { inferTypes } from '../../ir/shapes/infer.ts';
import { setObserved } from '../../ir/site.ts';
import { sizeOf } from '../../ir/types.ts';
import { sweep } from '../blocks/sweep.ts';
import type { Feeds } from '../infra/executor.ts';
import { definePass, sampleAt, type PassContext } from '../infra/pass.ts';
import type { Part, Reduction } from '../infra/reduction.ts';
import { reductions } from './reductions/index.ts';
import { addReductions, addShapes, observersOf, type Reduced, type Seen } from './rows.ts';
import { countAttributes } from './statistics.ts';

/** Runs the model over the calibration samples, or takes saved statistics, and fills every observer. */
export const calibrate = definePass({
  name: 'calibrate',
  summary: 'run the calibration samples and fill the observers',
  contract: 'exact',
  needs: ['observed'],
  gives: ['calibrated'],
  // What saved statistics have, so that they serve whatever a later compile does with ranges.
  observes: [reductions.range, reductions.average, reductions.tokenRange],
  async run(graph, ctx) {
    const observers = observersOf(graph);
    if (observers.length === 0) return;
    const statistics = ctx.services.statistics ?? (await collect(graph, ctx));
    for (const observer of observers) {
      const seen = statistics.get(observer.key);
      if (!seen) {
        ctx.report(diagnostic('QC3201', `calibration saw nothing at %${observer.y.name}`, observer.node.loc));
        continue;
      }
      checkSeen(observer, seen, ctx.observes);
      setObserved(graph, observer, Object.fromEntries(seen));
      ctx.count('observers');
    }
  },
});

/** What an observer is to remember, as its attributes. */
export type Observed = ReadonlyMap<string, Attribute>;

/** What the reductions that the passes of the run read saw at every observer, by its key, from one sweep over the samples. */
export async function collect(graph: Graph, ctx: PassContext, least?: number): Promise<ReadonlyMap<string, Observed>> {
  const samples = ctx.services.samples;
  if (!samples || samples.length === 0) return fail('QC2101', 'activation ranges are needed, and there is no calibration data');
  inferTypes(graph);
  const mask = graph.inputs.find((v) => v.name === ctx.services.mask) ?? null;
  const seen = await look(graph, await sampleAt(samples, 0), ctx, least);
  const done = new Map<string, Observed>();
  let [read, merging]: [(outputs: Feeds) => readonly Reduced[], Map<string, Merged>] = [() => [], new Map()];
  await sweep(graph, samples, ctx, {
    least,
    augment(slice, copies) {
      read = addReductions(slice, ctx.observes, seen, mask && maskIn(slice, mask, copies));
      merging = new Map();
    },
    decode: true,
    onSample(s, outputs, steps) {
      for (const parts of bySite([outputs, ...steps].map(read))) {
        const { key } = parts[0]!.observer;
        // A sample of padding alone has no extremes.
        const seen = parts.filter(({ tokens }) => tokens > 0);
        const merged = seen.length === 0 ? merging.get(key) : merge(merging.get(key), seen, ctx.observes);
        if (!merged) continue;
        merging.set(key, merged);
        if (s === samples.length - 1) done.set(key, written(merged, ctx));
      }
    },
  });
  return done;
}

/** What each run saw at all sites, as what all runs saw at each site. */
const bySite = (runs: readonly (readonly Reduced[])[]): readonly (readonly Reduced[])[] =>
  runs[0]!.map((_, site) => runs.map((reduced) => reduced[site]!));

/** One sample through the graph for the shapes at the observers, which tell where the attention mask fits. */
async function look(graph: Graph, sample: Feeds, ctx: PassContext, least: number | undefined): Promise<ReadonlyMap<string, Seen>> {
  const seen = new Map<string, Seen>();
  const masked = sizeOf(sample[ctx.services.mask ?? '']?.shape ?? [0]);
  let read: ReturnType<typeof addShapes> = () => new Map();
  await sweep(graph, [sample], ctx, {
    least,
    augment(slice) {
      read = addShapes(slice);
    },
    onSample(_, values) {
      for (const [key, shape] of read(values)) seen.set(key, { channels: shape.at(-1)!, masked: sizeOf(shape.slice(0, -1)) === masked });
    },
  });
  return seen;
}

/** The mask as an input of the slice, added if nothing in the slice reads it. */
function maskIn(slice: Graph, mask: Value, copies: ReadonlyMap<Value, Value>): Value {
  return copies.get(mask) ?? slice.inputs.find((v) => v.name === mask.name) ?? slice.addInput(mask.name, mask.type);
}

/** What was seen so far at one site, by reduction. */
interface Merged {
  readonly samples: number;
  readonly tokens: number;
  readonly values: ReadonlyMap<Reduction<unknown>, unknown>;
}

/** What was seen before, and one sample more in parts: what went in at once, and the tokens behind it. Each has a token at least. */
function merge(before: Merged | undefined, parts: readonly Reduced[], wanted: readonly Reduction<unknown>[]): Merged {
  for (const { observer, isFinite } of parts)
    if (!isFinite) fail('QC2107', `an activation at %${observer.key} is NaN or infinite on the calibration data`, observer.node.loc);
  const tokens = parts.reduce((n, part) => n + part.tokens, 0);
  const joined = (r: Reduction<unknown>): unknown => {
    const now: Part<unknown> = { samples: 1, tokens, value: ofParts(r, parts) };
    return before ? r.merge({ ...before, value: before.values.get(r) }, now) : now.value;
  };
  return {
    samples: (before?.samples ?? 0) + 1,
    tokens: (before?.tokens ?? 0) + tokens,
    values: new Map(wanted.map((r) => [r, joined(r)] as const)),
  };
}

function ofParts(r: Reduction<unknown>, parts: readonly Reduced[]): unknown {
  const join = (a: Part<unknown>, b: Part<unknown>): unknown => r.join?.(a, b) ?? r.merge(a, b);
  const own = parts.map(({ tokens, results }): Part<unknown> => ({ samples: 1, tokens, value: r.ofSample(results(r), tokens) }));
  return own.reduce((a, b) => ({ samples: 1, tokens: a.tokens + b.tokens, value: join(a, b) })).value;
}

/** Tensors of more bytes are kept in a file: the Gram matrix of 4096 channels has 64 MB. */
const largest = 1 << 20;

function written(merged: Merged, ctx: PassContext): Observed {
  const attributes: Attributes = Object.assign(countAttributes(merged), ...[...merged.values].map(([r, value]) => r.write(value)));
  return new Map(
    Object.entries(attributes).map(([name, a]) => {
      const isLarge = a.kind === 'tensor' && a.value.bytes().byteLength > largest;
      return [name, isLarge ? { ...a, value: ctx.services.store(a.value) } : a] as const;
    }),
  );
}

function checkSeen(observer: Observer, seen: Observed, wanted: readonly Reduction<unknown>[]): void {
  const missing = wanted.find((r) => r.read(seen) === null);
  if (missing)
    fail('QC2108', `the statistics of %${observer.key} lack '${missing.name}', which a pass reads`, observer.node.loc, {
      hint: 'calibrate with data again, with the same passes',
    });
  const channels = observer.x.type?.shape?.at(-1);
  const found = reductions.range.read(seen)!.min.length;
  if (typeof channels === 'number' && channels !== found)
    fail('QC2108', `the statistics of %${observer.key} have ${found} channels, the model has ${channels}`, observer.node.loc);
}
