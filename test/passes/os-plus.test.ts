import { afterAll, describe, expect, test } from '@jest/globals';
import { codeRange, parseGraph, sites, type Graph } from '../../ir/index.ts';
import { runOnce, schemeNamed, statisticsAt, type Feeds, type HostTensor } from '../../passes/index.ts';
import { candidateFeeds, type Candidate } from '../../passes/search/candidate.ts';
import { centred, thresholds, widths } from '../../passes/methods/os-plus/thresholds.ts';
import { changedGroups } from '../../passes/search/changed-groups.ts';
import { lossGraph } from '../../passes/search/loss-graph.ts';
import { names, roundsByGroup } from '../../passes/search/loss-settings.ts';
import { lossRegion } from '../../passes/search/loss-region.ts';
import { sameLoss } from '../../passes/search/losses.ts';
import { search } from '../../passes/methods/os-plus/search.ts';
import { stacked } from '../../passes/search/stack.ts';
import { beside, coarse, fine } from '../../passes/methods/os-plus/two-pass.ts';
import { elements, f32, plainExecutor, runPipeline, valueNamed } from '../support/run.ts';
import { maskedSamples, subject } from './zoo.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

const channels = 4;
const outputs = 3;
/** Channel 1 is wide and far from zero. */
const graphOf = (): Graph =>
  parseGraph(`graph @norm(%x: f32[B,S,4], %attention_mask: i64[B,S]) {
    const %g: f32[4] = [1.0, 9.0, 0.5, 2.0]
    const %b: f32[4] = [0.3, 6.0, 0.0, -1.0]
    const %w: f32[4,3] = random 7
    const %wh: f32[3,2] = random 8
    %h: f32[B,S,4] = LayerNormalization(%x, %g, %b)
    %o: f32[B,S,4] = qc.Observer(%h) {key = "h"}
    %s: f32[B,S,4] = qc.Site(%o) {key = "h", role = "norm"}
    %p: f32[B,S,3] = MatMul(%s, %w)
    %kept: f32[B,S] = Cast(%attention_mask) {to = 1}
    %n: f32[] = ReduceSum(%kept) {keepdims = 0}
    %r: f32[B,S,3] = Relu(%p)
    %y: f32[B,S,2] = MatMul(%r, %wh)
    return %y, %n
  }`);
const samples: readonly Feeds[] = [0, 1].map((s) => ({
  x: f32(
    [1, 5, channels],
    Array.from({ length: 5 * channels }, (_, i) => Math.sin(i * i * 0.7 + s)),
  ),
  attention_mask: { dtype: 'i64', shape: [1, 5], data: BigInt64Array.from([1n, 1n, 1n, 1n, s === 1 ? 0n : 1n]) },
}));

const f = Math.fround;
/**
 * A quantizer by the formulas of methods 2.4. Values and scales are rounded to f32 where ONNX Runtime rounds them, since the ends of
 * a range (-t, t) in an odd number of steps lie half-way between two codes.
 */
function quantizer(low: number, high: number, bits: number, symmetric: boolean): (x: number) => number {
  const { min, max } = codeRange(bits, symmetric);
  const [lo, hi] = [Math.min(low, 0), Math.max(high, 0)];
  const even = (v: number): number => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));
  const scale = f(symmetric ? Math.max(-lo, hi) / max : (hi - lo) / (max - min));
  const zero = symmetric ? 0 : Math.min(Math.max(min - even(lo / scale), min), max);
  return (x) => (Math.min(Math.max(even(f(x / scale)) + zero, min), max) - zero) * scale;
}

interface Case {
  readonly scheme: string;
  readonly bits: number;
  readonly symmetric: boolean;
  readonly wholeWeight: boolean;
}
const cases: readonly Case[] = [
  { scheme: 'w4a4', bits: 4, symmetric: false, wholeWeight: false },
  { scheme: 'os+-int6', bits: 6, symmetric: false, wholeWeight: false },
  { scheme: 'os+-int8', bits: 8, symmetric: true, wholeWeight: true },
];

/** The loss of one threshold by plain arithmetic: the mean over tokens that count of the squared error of x W. */
function plainLoss(
  t: number,
  h: readonly (readonly number[])[],
  w: Float32Array,
  z: readonly number[],
  half: readonly number[],
  c: Case,
): number {
  const s = half.map((x) => f(Math.max(1, x / t)));
  const scaled = Array.from(w, (x, i) => f(x * s[Math.floor(i / outputs)]!));
  const column = (k: number): number[] => scaled.filter((_, i) => i % outputs === k);
  const quantizeWeight = Array.from({ length: outputs }, (_, k) => {
    const values = c.wholeWeight ? scaled : column(k);
    return quantizer(Math.min(...values), Math.max(...values), c.bits, c.symmetric);
  });
  const quantizeInput = quantizer(-t, t, c.bits, c.symmetric);
  let sum = 0;
  for (const x of h) {
    for (let k = 0; k < outputs; k++) {
      let [exact, rounded] = [0, 0];
      x.forEach((v, j) => {
        const weight = w[j * outputs + k]!;
        exact += v * weight;
        rounded += quantizeInput(f(f(v - f(z[j]!)) / s[j]!)) * quantizeWeight[k]!(scaled[j * outputs + k]!) + z[j]! * weight;
      });
      sum += (exact - rounded) ** 2;
    }
  }
  return sum / h.length;
}

describe.each(cases)('the search with $scheme', (c) => {
  const prepared = async () => {
    const graph = graphOf();
    await runPipeline(executor, graph, 'calibrate', { facts: ['observed'], samples });
    const site = sites(graph)[0]!;
    const { range } = statisticsAt(site)!;
    const z = Array.from(range.max, (hi, j) => (hi + range.min[j]!) / 2);
    const half = Array.from(range.max, (hi, j) => hi - z[j]!);
    // The tokens that the mask keeps.
    const rows: number[][] = [];
    const every: Float32Array[] = [];
    for (const sample of samples) {
      const copy = parseGraph(
        `graph @h(%x: f32[B,S,4]) { const %g: f32[4] = [1.0, 9.0, 0.5, 2.0] const %b: f32[4] = [0.3, 6.0, 0.0, -1.0] %h: f32[B,S,4] = LayerNormalization(%x, %g, %b) return %h }`,
      );
      const h = elements(await runOnce(executor, copy, { x: sample['x']! }), 'h');
      every.push(h);
      for (let t = 0; t < 5; t++)
        if (Number(sample['attention_mask']!.data[t]) === 1) rows.push([...h.subarray(t * channels, (t + 1) * channels)]);
    }
    return { graph, site, range, z, half, rows, every, w: Float32Array.from(elementsOf(graph)) };
  };
  const elementsOf = (graph: Graph): Float32Array => new Float32Array(valueNamed(graph, 'w').constant!.bytes().slice().buffer);

  test('measures what plain arithmetic measures', async () => {
    const { graph, site, range, z, half, rows, every, w } = await prepared();
    const scheme = schemeNamed(c.scheme);
    const at = centred(range, true);
    expect([...at.centre]).toEqual(z);
    const activation = { ...scheme.activations.norm!, block: 0 };
    const loss = lossGraph(
      lossRegion(graph, site),
      site,
      { centre: at.centre, activation, weights: scheme.weights, groups: [channels], masked: true },
      graph.opsets,
    );
    const tried = [9, 4, 2.5, 1.2];
    const candidates = tried.map((t): Candidate => ({ width: widths(at.half, t), ranges: [[-t, t]] }));
    const sums = tried.map(() => 0);
    for (const [i, sample] of samples.entries()) {
      const out = await runOnce(executor, loss, {
        [names.x]: f32([1, 5, channels], every[i]!),
        [names.tokens]: f32([1, 5], Array.from(sample['attention_mask']!.data, Number)),
        ...candidateFeeds(candidates, activation, [channels]),
      });
      tried.forEach((_, k) => (sums[k]! += Number(out[names.losses]!.data[k])));
    }
    for (const [k, t] of tried.entries()) {
      const expected = plainLoss(t, rows, w, z, half, c);
      expect(Math.abs(sums[k]! / rows.length - expected)).toBeLessThan(1e-3 * expected + 1e-7);
    }
  });

  test('chooses what brute force chooses', async () => {
    const { graph, half, rows, w, z } = await prepared();
    await runPipeline(executor, graph, `os+{scheme=${c.scheme} steps=40 low=0.5 search=exhaustive}`, {
      facts: ['calibrated', 'folded'],
      samples,
    });
    const widest = Math.max(...half);
    const candidates = Array.from({ length: 41 }, (_, k) => widest - (k * (widest - 0.5)) / 40);
    const losses = candidates.map((t) => plainLoss(t, rows, w, z, half, c));
    const best = losses.indexOf(Math.min(...losses));
    // What the site's widest channel shrank to is the threshold.
    const chosen = Math.max(...statisticsAt(sites(graph)[0]!)!.range.max);
    const nearest = candidates.findIndex((t) => Math.abs(t - chosen) < 1e-3);
    expect(losses[nearest]!).toBeLessThanOrEqual(losses[best]! * (1 + 1e-4));
    expect(best).toBeGreaterThan(0);
  });
});

describe('the region of the loss', () => {
  test('is the whole attention for query, key and value, and the product alone for the MLP', async () => {
    const graph = subject('pre-LN block').open();
    await runPipeline(executor, graph, 'raise,mark-sites,observe', {});
    const [attention, mlp] = sites(graph)
      .filter((s) => s.role === 'norm')
      .map((s) => lossRegion(graph, s)) as [ReturnType<typeof lossRegion>, ReturnType<typeof lossRegion>];
    expect([attention.linears.length, attention.results.map((v) => v.name), attention.others.map((v) => v.name)]).toEqual([
      3,
      ['c'],
      ['mask'],
    ]);
    expect([mlp.linears.length, mlp.results.map((v) => v.producer!.op), mlp.others]).toEqual([1, ['MatMul'], []]);
  });
  test('without quantizers loses nothing at any threshold', async () => {
    const graph = subject('pre-LN block').open();
    await runPipeline(executor, graph, 'raise,mark-sites,observe,calibrate', { samples: maskedSamples });
    const site = sites(graph)[0]!;
    const region = lossRegion(graph, site);
    const { range } = statisticsAt(site)!;
    const at = centred(range, true);
    const loss = lossGraph(region, site, { centre: at.centre, activation: null, weights: null, groups: [16], masked: false }, graph.opsets);
    const x = f32(
      [2, 6, 16],
      Array.from({ length: 192 }, (_, i) => Math.sin(i) * 3),
    );
    const out = await runOnce(executor, loss, {
      [names.x]: x,
      mask: f32([2, 1, 6, 6], new Float32Array(72)),
      ...candidateFeeds([{ width: widths(at.half, 2), ranges: [[-2, 2]] }], null, [16]),
    });
    expect(Number(out[names.losses]!.data[0])).toBeLessThan(1e-6);
  });
});

describe('weights with a scale for each group of rows', () => {
  const groups = [2, 2, 4, 8];
  const half = Float64Array.from({ length: 16 }, (_, c) => 1 + 4 * Number(c === 2) + 6 * Number(c === 13));
  const candidates = [8, 6, 4, 2, 0.5].map((threshold): Candidate => ({
    width: widths(half, threshold),
    ranges: [[-2, 2]],
  }));
  const activation = { ...schemeNamed('w4a4').activations.norm!, block: 0 };
  const feeds = candidateFeeds(candidates, activation, [16]);

  test('change where a candidate widens a channel', () => {
    const changed = changedGroups(feeds[names.widths]!, groups);
    expect(changed.shape).toEqual([5, 4]);
    expect(Array.from(changed.data, Number)).toEqual([0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 1, 1, 1, 1]);
  });
  test('are rounded anew there alone, with the bits that rounding all of them gives', async () => {
    const graph = subject('pre-LN block').open();
    await runPipeline(executor, graph, 'raise,mark-sites,observe', {});
    const site = sites(graph).filter((s) => s.role === 'norm')[1]!;
    const settings = { centre: new Float64Array(16), activation, weights: schemeNamed('w4a4').weights, groups, masked: false };
    expect(roundsByGroup(settings)).toBe(true);
    const loss = lossGraph(lossRegion(graph, site), site, settings, graph.opsets);
    const x = f32(
      [2, 6, 16],
      Array.from({ length: 192 }, (_, i) => Math.sin(i) * 3),
    );
    const losses = async (changed: HostTensor) => {
      const out = await runOnce(executor, loss, { ...feeds, [names.x]: x, [names.changed]: changed });
      return Array.from(out[names.losses]!.data, Number);
    };
    const all = (is: bigint): HostTensor => ({ dtype: 'i64', shape: [5, 4], data: new BigInt64Array(20).fill(is) });
    const found = await losses(changedGroups(feeds[names.widths]!, groups));
    expect(found).toEqual(await losses(all(1n)));
    const [first, ...others] = await losses(all(0n));
    expect(found[0]).toBe(first);
    expect(found.slice(1).every((x, k) => x !== others[k])).toBe(true);
  });
  test('are rounded all at once where one scale serves the matrix, or groups are many', () => {
    const settings = { centre: new Float64Array(16), activation, weights: schemeNamed('w4a4').weights, groups, masked: false };
    expect(roundsByGroup({ ...settings, weights: schemeNamed('os+-int8').weights })).toBe(false);
    expect(roundsByGroup({ ...settings, weights: null })).toBe(false);
    expect(roundsByGroup({ ...settings, groups: [16] })).toBe(false);
    expect(roundsByGroup({ ...settings, groups: Array.from({ length: 65 }, () => 1) })).toBe(false);
  });
});

describe('the two passes of the search', () => {
  const descending = (count: number): readonly number[] => Array.from({ length: count }, (_, i) => count - i);
  test('look at thresholds that fall by one factor from end to end, each once', () => {
    expect(coarse(descending(5))).toEqual([0, 1, 2, 3, 4]);
    const places = coarse(descending(101));
    expect(places).toEqual([0, 18, 33, 46, 56, 64, 71, 76, 81, 84, 87, 90, 92, 94, 95, 96, 97, 98, 99, 100]);
    expect(coarse(Array.from({ length: 101 }, (_, i) => 100 - i)).at(-1)).toBe(99);
  });
  test('then look between the neighbours of the two deepest valleys', () => {
    const places = [0, 10, 20, 30, 40];
    expect(fine(places, [5, 4, 3, 4, 5])).toEqual([11, 13, 16, 18, 22, 24, 27, 29]);
    expect(fine(places, [1, 4, 5, 2, 5])).toEqual([1, 4, 6, 9, 21, 27, 33, 39]);
    expect(fine(places, [5, 4, 3, 2, 1])).toEqual([31, 32, 33, 34, 36, 37, 38, 39]);
    expect(fine([0, 1, 2], [5, 4, 5])).toEqual([]);
    expect(fine([0, 1, 2], [NaN, NaN, NaN])).toEqual([]);
  });
  test('at last look at the four nearest to the best that were not tried', () => {
    expect(beside(new Set([10, 11, 14]), 11, 20)).toEqual([12, 9, 13, 8]);
    expect(beside(new Set([0, 2]), 0, 20)).toEqual([1, 3, 4, 5]);
    expect(beside(new Set([0, 1, 2]), 2, 3)).toEqual([]);
  });
  // The loss of a threshold t is (t - best)^2.
  const spaceOf = (count: number, best: number, asked: number[]) => ({
    thresholds: Array.from({ length: count }, (_, i) => count - i),
    losses: (tried: readonly number[]) => {
      asked.push(...tried);
      return Promise.resolve(tried.map((t) => (t - best) ** 2));
    },
  });
  test.each([3, 40, 101, 203])('find the best of %i thresholds where the loss has one valley, and try 36 at most', async (count) => {
    for (const best of [1, Math.round(count / 3), count]) {
      const asked: number[] = [];
      const found = await search(spaceOf(count, best, asked), 'two-pass');
      expect(Math.abs(found!.threshold - best)).toBeLessThanOrEqual(Math.ceil((2 * count) / 15 / 9));
      expect(asked.length).toBeLessThanOrEqual(36);
      expect(new Set(asked).size).toBe(asked.length);
      expect(await search(spaceOf(count, best, []), 'exhaustive')).toEqual({ threshold: best, loss: 0 });
    }
  });
});

describe('candidates', () => {
  test('descend from the widest channel to the lowest threshold, in at least 100 steps', () => {
    const found = thresholds(Float64Array.of(3, 11, 5), 1, null, 11);
    expect([found.length, found[0], found.at(-1), found[1]]).toEqual([101, 11, 1, 10.9]);
    expect(thresholds(Float64Array.of(3, 101), 1, null, 101)).toHaveLength(203);
    expect(thresholds(Float64Array.of(3, 11), 1, 4, 11)).toEqual([11, 8.5, 6, 3.5, 1]);
  });
  test('are none where the widest channel is narrow already, and one where it is just as wide', () => {
    expect(thresholds(Float64Array.of(0.5), 1, null, 0.5)).toEqual([]);
    expect(thresholds(Float64Array.of(1), 1, null, 1)).toEqual([1]);
  });
  test('shrink only channels that are wider than the threshold', () => expect([...widths(Float64Array.of(1, 4, 2), 2)]).toEqual([1, 2, 1]));
  test('a centre is the middle of the range, or zero without shift', () => {
    const range = { min: Float32Array.of(-1, 2), max: Float32Array.of(3, 10) };
    expect([[...centred(range, true).centre], [...centred(range, true).half]]).toEqual([
      [1, 6],
      [2, 4],
    ]);
    expect([[...centred(range, false).centre], [...centred(range, false).half]]).toEqual([
      [0, 0],
      [3, 10],
    ]);
  });
});

test('without data there is nothing to search with, and that is said', async () => {
  const graph = graphOf();
  await runPipeline(executor, graph, 'calibrate', { facts: ['observed'], samples });
  await expect(runPipeline(executor, graph, 'os+', { facts: ['calibrated', 'folded'], samples: null })).rejects.toMatchObject({
    code: 'QC2101',
  });
});

describe('samples as one batch', () => {
  const rows = [1, 2, 3].map((s) => ({
    feeds: {
      x: f32(
        [1, 4, 2],
        Array.from({ length: 8 }, (_, i) => Math.sin(i + s)),
      ),
    },
    tokens: 4,
  }));
  const loss = (body: string) =>
    parseGraph(
      `graph @loss(%x: f32[B,4,2]) { ${body} %"${names.losses}": f32[] = ReduceSum(%y) {keepdims = 0} return %"${names.losses}" }`,
    );
  const chosen = async (body: string) => {
    const program = await executor.load(loss(body));
    try {
      return (await sameLoss(program, stacked(rows), rows, {})).length;
    } finally {
      await program.close();
    }
  };
  test('where the graph takes any batch', async () => {
    expect(await chosen('%y: f32[B,4,2] = Mul(%x, %x)')).toBe(1);
  });
  test.each([
    ['a constant Reshape for one sample refuses', 'const %s: i64[2] = [4, 2] %y: f32[4,2] = Reshape(%x, %s)'],
    [
      'a constant Reshape mixes the rows',
      'const %s: i64[2] = [1, -1] %r: f32[1,?] = Reshape(%x, %s) %y: f32[1,?] = Softmax(%r) {axis = -1}',
    ],
    ['a mask is made for another batch', 'const %m: f32[2,1,1] = [1.0, 0.0] %y: f32[2,4,2] = Add(%x, %m)'],
  ])('but not where %s', async (_, body) => {
    expect(await chosen(body)).toBe(3);
  });
});
