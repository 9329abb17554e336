import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { ChannelRange } from '../../ir/index.ts';
import { reductions, schemeNamed, type Statistics } from '../../passes/index.ts';
import { averageOf, growth, usualRange, spread, usualRangeName, widened } from '../../passes/quantize/usual-range.ts';
import { numbers } from '../support/run.ts';
import { statisticsFrom } from '../support/statistics.ts';

const range = fc
  .array(fc.tuple(fc.integer({ min: -50, max: 0 }), fc.integer({ min: 0, max: 50 })), { minLength: 3, maxLength: 3 })
  .map((c): ChannelRange => ({ min: Float32Array.from(c, ([lo]) => lo), max: Float32Array.from(c, ([, hi]) => hi) }));
const statisticsOf = (samples: readonly ChannelRange[], tokens = 64): Statistics =>
  statisticsFrom(
    tokens,
    [reductions.range, reductions.average].map((r) => [r, samples] as const),
  );

/** Samples whose maxima have the tail exp(-x / b) in every channel, and whose minima are always 0. */
const heavyTailed = (samples: number, channels: number, seed: number, b: number): readonly ChannelRange[] => {
  const draws = numbers(samples * channels, seed);
  return Array.from({ length: samples }, (_, i) => ({
    min: new Float32Array(channels),
    max: draws.slice(i * channels, (i + 1) * channels).map((u) => -b * Math.log(Math.min(Math.max((u + 1) / 2, 1e-6), 1))),
  }));
};

/** The share of the maxima of `samples` that lie beyond the range. */
function shareBeyond({ max }: ChannelRange, samples: readonly ChannelRange[]): number {
  const beyond = samples.flatMap((s) => [...s.max].filter((x, j) => x > max[j]!));
  return beyond.length / (samples.length * max.length);
}

describe('widened extremes', () => {
  test('hold the extremes, and are the extremes where there is one sample or all are alike', () =>
    fc.assert(
      fc.property(fc.array(range, { minLength: 2, maxLength: 6 }), (samples) => {
        const s = statisticsOf(samples);
        const { min, max } = widened(s);
        // The average of equal samples is rounded.
        for (const j of min.keys()) {
          expect(min[j]).toBeLessThanOrEqual(s.range.min[j]! + 1e-3);
          expect(max[j]).toBeGreaterThanOrEqual(s.range.max[j]! - 1e-3);
        }
        expect(widened(statisticsOf(samples.slice(0, 1)))).toEqual(samples[0]);
      }),
    ));

  test('go as far beyond in every channel, and not at all on the side where the samples are alike', () => {
    const s = statisticsOf(heavyTailed(32, 8, 1, 2));
    const { min, max } = widened(s);
    const margins = max.map((x, j) => x - s.range.max[j]!);
    for (const m of margins) expect(m).toBeCloseTo(margins[0]!, 4);
    expect([...min]).toEqual([...s.range.min]);
  });

  test.each([8, 32, 128])('hold what later samples bring, after %i samples', (n) => {
    const s = statisticsOf(heavyTailed(n, 64, 2, 3));
    const later = heavyTailed(500, 64, 3, 3);
    expect(shareBeyond(s.range, later)).toBeGreaterThan(0.5 / (n + 1));
    expect(shareBeyond(widened(s), later)).toBeLessThan(1e-3);
  });
});

describe('growth', () => {
  test.each([8, 32, 128])('is what twice %i samples bring', (n) => {
    const widthOf = (count: number): number => {
      const { range } = statisticsOf(heavyTailed(count, 256, 5, 3));
      return range.max.reduce((sum, x, j) => sum + x - range.min[j]!, 0);
    };
    const s = statisticsOf(heavyTailed(n, 256, 5, 3));
    expect(growth(s) / (widthOf(2 * n) / widthOf(n) - 1)).toBeGreaterThan(0.6);
    expect(growth(s) / (widthOf(2 * n) / widthOf(n) - 1)).toBeLessThan(1.6);
  });
  test('is none where samples are alike, and unknown from one', () => {
    const [one] = heavyTailed(1, 8, 6, 1);
    expect(growth(statisticsOf([one!, one!, one!]))).toBeCloseTo(0, 6);
    expect(growth(statisticsOf([one!]))).toBe(0);
  });
});

describe('the usual range', () => {
  const [w8a8, w8a6, w4a4, rptqW4a4] = ['w8a8', 'w8a6', 'w4a4', 'rptq-w4a4'].map(schemeNamed).map((s) => s.activations.linear!);
  const s = statisticsOf(heavyTailed(32, 8, 4, 1));
  test.each([
    ['widened extremes', 'clusters of 8 bits', w8a8!, [4, 4], s],
    ['extremes', 'one scale', w8a8!, [8], s],
    ['widened average', 'clusters of 6 bits', w8a6!, [4, 4], s],
    ['average', "clusters on RPTQ's grid", rptqW4a4!, [4, 4], s],
    ['extremes', 'clusters of 4 bits after few samples', w4a4!, [4, 4], statisticsOf(heavyTailed(8, 8, 4, 1))],
  ] as const)('is the %s of %s', (name, _, activation, groups, statistics) => {
    expect(usualRangeName(statistics, activation, groups)).toBe(name);
    const average = averageOf(statistics);
    const ranges = {
      average,
      'widened average': spread(average, 1.2),
      extremes: statistics.range,
      'widened extremes': widened(statistics),
    };
    expect(usualRange(statistics, activation, groups)).toEqual(ranges[name]);
  });
});
