import { diagnostic, fail, type Location } from '../../ir/diagnostics.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import { Observer } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { inferTypes } from '../../ir/shapes/infer.ts';
import { setStatistics } from '../../ir/site.ts';
import { binOf, merge, ofSample, type Histogram, type Statistics } from '../../ir/statistics.ts';
import { sizeOf } from '../../ir/types.ts';
import type { Feeds, HostTensor } from '../infra/executor.ts';
import { definePass, sampleAt, type PassContext } from '../infra/pass.ts';
import { sweep } from '../blocks/sweep.ts';
import { addReductions, addShapes, reductions, type Seen } from './reductions.ts';

/** Runs the model over the calibration samples, or takes saved statistics, and fills every observer. */
export const calibrate = definePass({
  name: 'calibrate',
  summary: 'run the calibration samples and fill the observers',
  contract: 'exact',
  needs: ['observed'],
  gives: ['calibrated'],
  async run(graph, ctx) {
    const observers = [...graph.nodes].flatMap((n) => viewAs(Observer, n) ?? []);
    if (observers.length === 0) return;
    const statistics = ctx.services.statistics ?? (await collect(graph, ctx));
    for (const observer of observers) {
      const seen = statistics.get(observer.key);
      if (!seen) {
        ctx.report(diagnostic('QC3201', `calibration saw nothing at %${observer.y.name}`, observer.node.loc));
        continue;
      }
      checkChannels(observer, seen);
      setStatistics(graph, observer, seen);
      ctx.count('observers');
    }
  },
});

/** Statistics of every observer by its key, from one sweep over the samples. */
export async function collect(graph: Graph, ctx: PassContext, least?: number): Promise<ReadonlyMap<string, Statistics>> {
  const samples = ctx.services.samples;
  if (!samples || samples.length === 0) return fail('QC2101', 'activation ranges are needed, and there is no calibration data');
  inferTypes(graph);
  const mask = graph.inputs.find((v) => v.name === ctx.services.mask) ?? null;
  const seen = await look(graph, await sampleAt(samples, 0), ctx, least);
  const statistics = new Map<string, Statistics>();
  const places = new Map([...graph.nodes].flatMap((n) => viewAs(Observer, n) ?? []).map((o) => [o.key, o.node.loc] as const));
  await sweep(graph, samples, ctx, {
    least,
    augment: (slice, twin) => addReductions(slice, seen, mask && maskIn(slice, mask, twin)),
    onSample(_, outputs) {
      for (const name of Object.keys(outputs)) {
        if (!name.endsWith(reductions.min) || name.endsWith(reductions.tokenMin)) continue;
        const key = name.slice(0, -reductions.min.length);
        const now = statisticsOfSample(key, outputs, places.get(key));
        // A sample of padding alone has no extremes.
        if (now.tokens === 0) continue;
        const before = statistics.get(key);
        statistics.set(key, before ? merge(before, now) : now);
      }
    },
  });
  return statistics;
}

/** One sample through the graph for the shapes at the observers, which tell where the attention mask fits. */
async function look(graph: Graph, sample: Feeds, ctx: PassContext, least: number | undefined): Promise<ReadonlyMap<string, Seen>> {
  const seen = new Map<string, Seen>();
  const masked = sizeOf(sample[ctx.services.mask ?? '']?.shape ?? [0]);
  await sweep(graph, [sample], ctx, {
    least,
    augment: addShapes,
    onSample(_, values) {
      for (const [name, shape] of Object.entries(values)) {
        if (!name.endsWith(reductions.shape)) continue;
        const dims = Array.from(shape.data as BigInt64Array, Number);
        seen.set(name.slice(0, -reductions.shape.length), { channels: dims.at(-1)!, masked: sizeOf(dims.slice(0, -1)) === masked });
      }
    },
  });
  return seen;
}

/** The mask as an input of the slice, added if nothing in the slice reads it. */
function maskIn(slice: Graph, mask: Value, twin: ReadonlyMap<Value, Value>): Value {
  return twin.get(mask) ?? slice.inputs.find((v) => v.name === mask.name) ?? slice.addInput(mask.name, mask.type);
}

function statisticsOfSample(key: string, outputs: Feeds, at?: Location): Statistics {
  const get = (suffix: string): Float32Array => {
    const t: HostTensor | undefined = outputs[`${key}${suffix}`];
    return t?.data instanceof Float32Array ? t.data : fail('QC9001', `no reduction${suffix} at ${key}`);
  };
  if (!get(reductions.sum).every(Number.isFinite))
    fail('QC2107', `an activation at %${key} is NaN or infinite on the calibration data`, at);
  const tokenMin = get(reductions.tokenMin).filter((x) => x !== Infinity);
  const tokenMax = get(reductions.tokenMax).filter((x) => x !== -Infinity);
  const range = { min: Float32Array.from(get(reductions.min)), max: Float32Array.from(get(reductions.max)) };
  return ofSample(range, tokenMin.length, { min: histogram(tokenMin), max: histogram(tokenMax) });
}

function histogram(values: Float32Array): Histogram {
  const counts = new Map<number, number>();
  for (const x of values) counts.set(binOf(x), (counts.get(binOf(x)) ?? 0) + 1);
  return counts;
}

function checkChannels(observer: Observer, seen: Statistics): void {
  const channels = observer.x.type?.shape?.at(-1);
  if (typeof channels === 'number' && channels !== seen.range.min.length)
    fail(
      'QC2108',
      `the statistics of %${observer.key} have ${seen.range.min.length} channels, the model has ${channels}`,
      observer.node.loc,
    );
}
