import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { apply, changeBasis, parseGraph, sites, standardize, type ChannelTransform, type Graph } from '../../ir/index.ts';
import {
  binCentre,
  binOf,
  definePass,
  histogramOf,
  quantile,
  reductions,
  setStatistic,
  statisticsAt,
  type Feeds,
  type Part,
  type Reduction,
  type Statistics,
} from '../../passes/index.ts';
import { readStatistics, writeStatistics } from '../../src/statistics-file.ts';
import { tensorStore } from '../../src/runtime/tensor-store.ts';
import { transform } from '../support/arbitrary.ts';
import { f32, i64, plainExecutor, runPipeline, temporaryPath } from '../support/run.ts';
import { merged } from '../support/statistics.ts';

const channels = 3;
const tokens = 4;
/** [tokens, channels]. */
type Sample = Float32Array;
type Values = Readonly<Record<string, unknown>>;

const columns = (x: Sample): readonly (readonly number[])[] =>
  Array.from({ length: channels }, (_, c) => Array.from({ length: x.length / channels }, (_, t) => x[t * channels + c]!));
const rows = (x: Sample): readonly (readonly number[])[] =>
  Array.from({ length: x.length / channels }, (_, t) => [...x.subarray(t * channels, (t + 1) * channels)]);
const sum = (v: readonly number[]): number => v.reduce((a, b) => a + b, 0);
const perChannel = (x: Sample, f: (column: readonly number[]) => number): Float32Array => Float32Array.from(columns(x), f);

/** The definitions, on the tokens of one sample. */
const defined: Readonly<Record<keyof typeof reductions, (x: Sample) => unknown>> = {
  range: (x) => ({ min: perChannel(x, (c) => Math.min(...c)), max: perChannel(x, (c) => Math.max(...c)) }),
  average: (x) => defined.range(x),
  tokenRange: (x) => ({
    min: histogramOf(rows(x).map((r) => Math.min(...r))),
    max: histogramOf(rows(x).map((r) => Math.max(...r))),
  }),
  mean: (x) => perChannel(x, (c) => sum(c) / c.length),
  meanAbs: (x) => perChannel(x, (c) => sum(c.map(Math.abs)) / c.length),
  rms: (x) => ({ rms: perChannel(x, (c) => Math.sqrt(sum(c.map((v) => v * v)) / c.length)), mean: defined.mean(x) }),
  gram: (x) => ({
    matrix: Float32Array.from(columns(x).flatMap((a) => columns(x).map((b) => sum(a.map((v, i) => v * b[i]!)) / a.length))),
    mean: defined.mean(x),
  }),
};

const each = Object.entries(reductions) as readonly (readonly [keyof typeof reductions, Reduction<unknown>])[];
const partOf = (name: keyof typeof reductions, x: Sample): Part<unknown> => ({
  samples: 1,
  tokens: x.length / channels,
  value: defined[name](x),
});

const sampleOf = (length: number): fc.Arbitrary<Sample> =>
  fc
    .array(fc.float({ noNaN: true, min: -50, max: 50 }), { minLength: channels * length, maxLength: channels * length })
    .map((x) => Float32Array.from(x));
const sample = sampleOf(tokens);
const several = fc.array(fc.integer({ min: 1, max: 6 }).chain(sampleOf), { minLength: 2, maxLength: 12 });
const joined = (samples: readonly Sample[]): Sample => Float32Array.from(samples.flatMap((s) => [...s]));

/** All numbers of a statistic within rounding of each other; histograms exactly. */
function expectClose(a: unknown, b: unknown, tolerance = 1e-4): void {
  if (a instanceof Float32Array && b instanceof Float32Array) {
    expect(a.length).toBe(b.length);
    const size = 1 + Math.max(...b.map(Math.abs));
    a.forEach((x, i) => expect(Math.abs(x - b[i]!)).toBeLessThanOrEqual(tolerance * size));
  } else if (a instanceof Map || a === null) expect(a).toEqual(b);
  else for (const key of Object.keys(b as Values)) expectClose((a as Values)[key], (b as Values)[key], tolerance);
}

describe.each(each)('%s', (name, reduction) => {
  const all = (samples: readonly Sample[]): Part<unknown> =>
    merged(
      reduction,
      samples.map((x) => partOf(name, x)),
    );

  if (name !== 'average')
    test('of samples one after the other is that of all tokens', () =>
      fc.assert(fc.property(several, (samples) => expectClose(all(samples).value, defined[name](joined(samples))))));

  test('of shards in any grouping is that of one pass', () =>
    fc.assert(
      fc.property(several, fc.nat(), (samples, at) => {
        const cut = 1 + (at % (samples.length - 1));
        const sharded = merged(reduction, [all(samples.slice(0, cut)), all(samples.slice(cut))]);
        expectClose(sharded.value, all(samples).value);
        expect([sharded.samples, sharded.tokens]).toEqual([samples.length, joined(samples).length / channels]);
      }),
    ));

  test('after a change of basis is what measuring again gives, or unknown', () =>
    fc.assert(
      fc.property(several, transform(channels), (samples, t) => {
        const now = reduction.moved(all(samples).value, t);
        const lost = name === 'tokenRange' ? Boolean(t.scale ?? t.shift) : name === 'meanAbs' && t.shift !== null;
        if (lost) expect(now).toBeNull();
        else expectClose(now, all(samples.map((x) => apply(t, x, [x.length / channels, channels], 1))).value, 2e-3);
      }),
    ));

  test('is held by attributes exactly', () =>
    fc.assert(
      fc.property(several, (samples) => {
        const { value } = all(samples);
        expect(reduction.read(new Map(Object.entries(reduction.write(value))))).toEqual(value);
      }),
    ));

  test('is unknown to an observer that has seen nothing', () => expect(reduction.read(new Map())).toBeNull());
});

test('no two reductions share a name, or an attribute', () => {
  const x = Float32Array.from({ length: channels * tokens }, (_, i) => i);
  const names = each.map(([, r]) => r.name);
  const attributes = each.flatMap(([name, r]) => Object.keys(r.write(defined[name](x))));
  for (const all of [names, attributes]) expect(new Set(all).size).toBe(all.length);
});

describe('the average', () => {
  const still = (x: number) => ({ samples: 1, tokens: 1, value: { min: Float32Array.of(x), max: Float32Array.of(x) } });
  test('has the weights 0.99^age', () =>
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 1, maxLength: 12 }), (values) => {
        const weights = values.map((_, i) => 0.99 ** (values.length - 1 - i));
        const expected = sum(values.map((x, i) => x * weights[i]!)) / sum(weights);
        expect(merged(reductions.average, values.map(still)).value.max[0]).toBeCloseTo(expected, 4);
      }),
    ));
  test('is dominated by no sample: the first of 32 weighs 2.7 %, the last 3.6 %', () => {
    const weight = (at: number): number =>
      merged(
        reductions.average,
        Array.from({ length: 32 }, (_, i) => still(i === at ? 1 : 0)),
      ).value.max[0]!;
    expect(weight(0)).toBeCloseTo(0.99 ** 31 / ((1 - 0.99 ** 32) / 0.01), 6);
    expect(weight(31)).toBeCloseTo(0.01 / (1 - 0.99 ** 32), 6);
    expect([weight(0), weight(31)].map((w) => w.toFixed(3))).toEqual(['0.027', '0.036']);
  });
});

describe('histograms', () => {
  test('a bin holds its centre, and bins are at most 6.3 % wide', () =>
    fc.assert(
      fc.property(fc.float({ noNaN: true, noDefaultInfinity: true, min: Math.fround(-1e30), max: Math.fround(1e30) }), (x) => {
        expect(binOf(binCentre(binOf(x)))).toBe(binOf(x));
        fc.pre(Math.abs(x) > 1e-30);
        expect(Math.abs(binCentre(binOf(x)) - x) / Math.abs(x)).toBeLessThan(0.0313);
        expect(Math.sign(binCentre(binOf(x)))).toBe(Math.sign(x));
      }),
    ));
  test('a quantile is right to the width of a bin', () =>
    fc.assert(
      fc.property(
        fc.array(fc.float({ noNaN: true, min: -100, max: 100 }), { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 1, max: 200 }),
        (values, k) => {
          const q = k / 200;
          const sorted = [...values].sort((a, b) => a - b);
          const exact = sorted[Math.max(0, Math.ceil(q * sorted.length - 1e-9) - 1)]!;
          expect(Math.abs(quantile(histogramOf(values), q) - exact)).toBeLessThanOrEqual(0.0313 * Math.abs(exact) + 1e-30);
        },
      ),
    ));
  test('of nothing have quantile 0', () => expect(quantile(new Map(), 0.5)).toBe(0));
});

interface Figures {
  readonly samples: readonly { readonly x: readonly number[]; readonly mask: readonly number[] }[];
  readonly tokens: number;
  readonly range: { readonly min: readonly number[]; readonly max: readonly number[] };
  readonly average: Figures['range'];
  readonly tokenRange: Figures['range'];
  readonly mean: readonly number[];
  readonly meanAbs: readonly number[];
  readonly rms: readonly number[];
  readonly gram: readonly number[];
}

/** A pass that reads all that reductions see. */
const readsAll = definePass({
  name: 'reads-all',
  summary: 'a test',
  contract: 'exact',
  needs: ['calibrated'],
  observes: Object.values(reductions),
  run() {},
});

const linear = (size: number, more = ''): Graph =>
  parseGraph(`graph @g(%x: f32[B,S,${size}], %attention_mask: i64[B,S]) {
    const %w: f32[${size},2] = random 1
    %o: f32[B,S,${size}] = qc.Observer(%x) {${more}key = "x"}
    %s: f32[B,S,${size}] = qc.Site(%o) {key = "x"}
    %y: f32[B,S,2] = MatMul(%s, %w)
    return %y
  }`);
const facts = ['raised', 'folded', 'sites', 'observed'];
const seenIn = (graph: Graph): Statistics => statisticsAt(sites(graph)[0]!)!;

describe('one sweep', () => {
  const executor = plainExecutor();
  afterAll(() => executor.close());
  const calibrated = async (graph: Graph, samples: readonly Feeds[], pipeline: string): Promise<Statistics> => {
    await runPipeline(executor, graph, pipeline, { samples, facts, more: [readsAll] });
    return seenIn(graph);
  };

  test('sees what numpy does in every reduction, without padding', async () => {
    const figures = JSON.parse(readFileSync('test/fixtures/reductions/figures.json', 'utf8')) as Figures;
    const samples = figures.samples.map(({ x, mask }) => ({ x: f32([2, 5, 6], x), attention_mask: i64([2, 5], mask) }));
    const s = await calibrated(linear(6), samples, 'calibrate,reads-all');
    const ends = ({ min, max }: Figures['range']) => ({ min: Float32Array.from(min), max: Float32Array.from(max) });
    const mean = Float32Array.from(figures.mean);
    expect([s.samples, s.tokens]).toEqual([3, figures.tokens]);
    expectClose(s.get(reductions.range), ends(figures.range), 0);
    expectClose(s.get(reductions.average), ends(figures.average), 1e-6);
    expectClose(s.get(reductions.tokenRange), {
      min: histogramOf(figures.tokenRange.min),
      max: histogramOf(figures.tokenRange.max),
    });
    expectClose(s.get(reductions.mean), mean, 1e-6);
    expectClose(s.get(reductions.meanAbs), Float32Array.from(figures.meanAbs), 1e-6);
    expectClose(s.get(reductions.rms), { rms: Float32Array.from(figures.rms), mean }, 1e-6);
    expectClose(s.get(reductions.gram), { matrix: Float32Array.from(figures.gram), mean }, 1e-6);
  });

  const feeds = (size: number): Feeds => ({
    x: f32(
      [1, 2, size],
      Array.from({ length: 2 * size }, (_, i) => Math.sin(i)),
    ),
    attention_mask: i64([1, 2], [1, 1]),
  });
  test('sees what the passes of the pipeline read, and nothing else', async () => {
    const s = await calibrated(linear(3), [feeds(3)], 'calibrate');
    expect(s.get(reductions.tokenRange)).not.toBeNull();
    expect(s.get(reductions.gram)).toBeNull();
  });
  test.each(['before', 'between two calibrations'])('measures in the basis that a site has, which changed %s', async (when) => {
    const graph = linear(3);
    if (when !== 'before') await calibrated(graph, [feeds(3)], 'calibrate');
    changeBasis(graph, sites(graph)[0]!, standardize([1, 2, 3], [4, 5, 6]));
    const { range } = await calibrated(graph, [feeds(3)], 'calibrate');
    const { range: bare } = await calibrated(linear(3), [feeds(3)], 'calibrate');
    expectClose(range, reductions.range.moved(bare, standardize([1, 2, 3], [4, 5, 6])), 1e-6);
  });
  test('keeps a large matrix in a file, which is gone when the store is closed', async () => {
    const { store, close } = tensorStore();
    const graph = linear(600);
    await runPipeline(executor, graph, 'calibrate,reads-all', { samples: [feeds(600)], facts, more: [readsAll], store });
    const observer = [...graph.nodes][0]!;
    const kept = observer.attributes.get('gram');
    if (kept?.kind !== 'tensor') throw new Error('no matrix');
    expect(kept.value.origin).toMatchObject({ kind: 'file' });
    expect(seenIn(graph).get(reductions.gram)!.matrix[0]).toBeCloseTo((Math.sin(0) ** 2 + Math.sin(600) ** 2) / 2, 5);
    await close();
    expect(() => kept.value.bytes()).toThrow(/cannot open/);
  });
  test('can be saved, whatever it saw, and serves another run', async () => {
    const path = temporaryPath('seen.safetensors');
    const graph = linear(600);
    const before = await calibrated(graph, [feeds(600)], 'calibrate,reads-all');
    writeStatistics(path, graph);
    const again = linear(600);
    await runPipeline(executor, again, 'calibrate,reads-all', { statistics: readStatistics(path), facts, more: [readsAll] });
    for (const [, r] of each) expect(seenIn(again).get(r)).toEqual(before.get(r));
  });
  test('that did not see what a pass reads is refused when it is saved and read again', async () => {
    const path = temporaryPath('less.safetensors');
    const graph = linear(3);
    await calibrated(graph, [feeds(3)], 'calibrate');
    writeStatistics(path, graph);
    const run = runPipeline(executor, linear(3), 'calibrate,reads-all', { statistics: readStatistics(path), facts, more: [readsAll] });
    await expect(run).rejects.toMatchObject({ code: 'QC2108', message: expect.stringContaining("lack 'mean'") });
  });
  test('is refused before it begins where two reductions have one name', () => {
    const other: Reduction<Float32Array> = { ...reductions.mean };
    const clash = definePass({ name: 'clash', summary: 'a test', contract: 'exact', observes: [other], run() {} });
    const run = async () =>
      runPipeline(executor, linear(3), 'reads-all,clash', { facts: [...facts, 'calibrated'], more: [readsAll, clash] });
    return expect(run()).rejects.toMatchObject({ code: 'QC2005', message: expect.stringContaining("'mean'") });
  });
});

describe('an observer', () => {
  const written = 'min = f32[3] [-1.0, 0.0, 2.0], max = f32[3] [1.0, 4.0, 3.0], ';
  test('knows its statistics in the basis that its site has now', () =>
    fc.assert(
      fc.property(transform(3), transform(3), (first, second) => {
        const graph = linear(3, written);
        const { range } = seenIn(graph);
        for (const t of [first, second]) changeBasis(graph, sites(graph)[0]!, t);
        const moved = (t: ChannelTransform, r: typeof range) => reductions.range.moved(r, t)!;
        expectClose(seenIn(graph).range, moved(second, moved(first, range)));
      }),
    ));
  test('remembers what it is told in that basis, beside what it saw', () =>
    fc.assert(
      fc.property(transform(3), sample, (t, x) => {
        const graph = linear(3, written);
        const value = reductions.mean.ofSample({ sum: x.slice(0, 3) }, 1);
        changeBasis(graph, sites(graph)[0]!, t);
        const before = seenIn(graph).range;
        setStatistic(graph, sites(graph)[0]!, reductions.mean, value);
        expectClose(seenIn(graph).get(reductions.mean), value, 1e-3);
        expect(seenIn(graph).range).toEqual(before);
      }),
    ));
  test('takes extremes alone for statistics of one sample', () => {
    const s = seenIn(linear(3, written));
    expect([s.samples, s.tokens]).toEqual([1, 1]);
    expect(s.get(reductions.average)).toEqual(s.range);
    expect(s.get(reductions.tokenRange)).toBeNull();
  });
  test('that has seen nothing has no statistics', () => expect(statisticsAt(sites(linear(3))[0]!)).toBeNull());
});
