import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  apply,
  binCentre,
  binOf,
  emaDecay,
  merge,
  moved,
  ofSample,
  quantile,
  statisticsAttributes,
  statisticsOf,
  type ChannelRange,
  type ChannelTransform,
  type Statistics,
} from '../../ir/index.ts';
import { transform } from '../support/arbitrary.ts';

const channels = 3;
const tokens = 4;
type Sample = Float32Array;

function histogram(values: readonly number[]): ReadonlyMap<number, number> {
  const counts = new Map<number, number>();
  for (const x of values) counts.set(binOf(x), (counts.get(binOf(x)) ?? 0) + 1);
  return counts;
}
const columns = (x: Sample): readonly (readonly number[])[] =>
  Array.from({ length: channels }, (_, c) => Array.from({ length: tokens }, (_, t) => x[t * channels + c]!));
const rows = (x: Sample): readonly (readonly number[])[] =>
  Array.from({ length: tokens }, (_, t) => [...x.subarray(t * channels, (t + 1) * channels)]);
function rangeOf(x: Sample): ChannelRange {
  return { min: Float32Array.from(columns(x), (c) => Math.min(...c)), max: Float32Array.from(columns(x), (c) => Math.max(...c)) };
}
const seen = (x: Sample): Statistics =>
  ofSample(rangeOf(x), tokens, { min: histogram(rows(x).map((r) => Math.min(...r))), max: histogram(rows(x).map((r) => Math.max(...r))) });

/** The definition: one sample after the other. */
function sequentially(samples: readonly Sample[]): { readonly range: ChannelRange; readonly ema: ChannelRange } {
  const ranges = samples.map(rangeOf);
  const weights = ranges.map((_, i) => emaDecay ** (ranges.length - 1 - i));
  const total = weights.reduce((a, b) => a + b);
  const follow = (f: (r: ChannelRange) => Float32Array): Float32Array =>
    Float32Array.from({ length: channels }, (_, c) => ranges.reduce((sum, r, i) => sum + weights[i]! * f(r)[c]!, 0) / total);
  return {
    range: {
      min: Float32Array.from({ length: channels }, (_, c) => Math.min(...ranges.map((r) => r.min[c]!))),
      max: Float32Array.from({ length: channels }, (_, c) => Math.max(...ranges.map((r) => r.max[c]!))),
    },
    ema: { min: follow((r) => r.min), max: follow((r) => r.max) },
  };
}

const sample = fc
  .array(fc.float({ noNaN: true, min: -50, max: 50 }), { minLength: channels * tokens, maxLength: channels * tokens })
  .map((x) => Float32Array.from(x));
const several = fc.array(sample, { minLength: 2, maxLength: 12 });
const all = (samples: readonly Sample[]): Statistics => samples.map(seen).reduce(merge);
function expectClose(a: Statistics, b: Pick<Statistics, 'range' | 'ema'>, tolerance = 1e-4): void {
  for (const kind of ['range', 'ema'] as const)
    for (const end of ['min', 'max'] as const)
      a[kind][end].forEach((x, c) => expect(Math.abs(x - b[kind][end][c]!)).toBeLessThanOrEqual(tolerance * (1 + Math.abs(x))));
}

describe('merging', () => {
  test('one sample after the other equals the definition of extremes and moving average', () =>
    fc.assert(fc.property(several, (samples) => expectClose(all(samples), sequentially(samples)))));
  test('shards in any grouping give what one pass gives', () =>
    fc.assert(
      fc.property(several, fc.nat(), (samples, at) => {
        const cut = 1 + (at % (samples.length - 1));
        const once = all(samples);
        const sharded = merge(all(samples.slice(0, cut)), all(samples.slice(cut)));
        expectClose(sharded, once);
        expect([sharded.samples, sharded.tokens]).toEqual([samples.length, samples.length * tokens]);
        expect(sharded.tokenExtremes).toEqual(once.tokenExtremes);
      }),
    ));
  test('is associative', () =>
    fc.assert(
      fc.property(several, several, several, (x, y, z) => {
        const [a, b, c] = [all(x), all(y), all(z)];
        const [left, right] = [merge(merge(a, b), c), merge(a, merge(b, c))];
        expectClose(left, right);
        expect(left.range).toEqual(right.range);
        expect(left.tokenExtremes).toEqual(right.tokenExtremes);
      }),
    ));
  test('no sample dominates the average: the first of 32 weighs 2.7 %, the last 3.6 %', () => {
    const still = (x: number): Statistics => ofSample({ min: Float32Array.of(x), max: Float32Array.of(x) }, 1, null);
    const weight = (at: number): number => Array.from({ length: 32 }, (_, i) => still(i === at ? 1 : 0)).reduce(merge).ema.max[0]!;
    expect(weight(0)).toBeCloseTo(0.99 ** 31 / ((1 - 0.99 ** 32) / 0.01), 6);
    expect(weight(31)).toBeCloseTo(0.01 / (1 - 0.99 ** 32), 6);
    expect([weight(0), weight(31)].map((w) => w.toFixed(3))).toEqual(['0.027', '0.036']);
  });
  test('forgets token extremes when one side has none', () => {
    const s = seen(new Float32Array(channels * tokens));
    expect(merge(s, { ...s, tokenExtremes: null }).tokenExtremes).toBeNull();
  });
});

describe('a change of basis', () => {
  const through = (t: ChannelTransform, x: Sample): Sample => apply(t, x, [tokens, channels], 1);
  test('moves statistics to what measuring again would give', () =>
    fc.assert(
      fc.property(several, transform(channels), (samples, t) =>
        expectClose(moved(all(samples), t), all(samples.map((x) => through(t, x))), 2e-3),
      ),
    ));
  test('keeps token extremes under a reorder, and only then', () =>
    fc.assert(
      fc.property(sample, transform(channels), (x, t) => {
        const s = seen(x);
        if (t.scale || t.shift) expect(moved(s, t).tokenExtremes).toBeNull();
        else expect(moved(s, t).tokenExtremes).toEqual(seen(through(t, x)).tokenExtremes);
      }),
    ));
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
          expect(Math.abs(quantile(histogram(values), q) - exact)).toBeLessThanOrEqual(0.0313 * Math.abs(exact) + 1e-30);
        },
      ),
    ));
  test('of nothing have quantile 0', () => expect(quantile(new Map(), 0.5)).toBe(0));
});

describe('attributes of an observer', () => {
  test('hold statistics exactly', () =>
    fc.assert(
      fc.property(several, (samples) =>
        expect(statisticsOf(new Map(Object.entries(statisticsAttributes(all(samples)))))).toEqual(all(samples)),
      ),
    ));
  test('min and max alone are enough', () => {
    const { min, max } = statisticsAttributes(ofSample({ min: Float32Array.of(-1), max: Float32Array.of(2) }, 1, null));
    const s = statisticsOf(new Map(Object.entries({ min: min!, max: max! })));
    expect(s).toMatchObject({ samples: 1, tokens: 1, tokenExtremes: null });
    expect([s!.ema.min[0], s!.ema.max[0]]).toEqual([-1, 2]);
  });
  test('an observer that has seen nothing has none', () => expect(statisticsOf(new Map())).toBeNull());
});
