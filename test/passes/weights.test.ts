import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { codeRange, fakeQuantize, groupIndex, parametersFor, roundHalfEven } from '../../ir/index.ts';
import { weightParameters, type WeightGrouping, type WeightParameters, type WeightSpec } from '../../passes/quantize/weights.ts';

/** Scales and zero points by their definition, element by element. */
function plain(w: Float32Array, columns: number, spec: WeightSpec, { sizes, wholeTensor, multiples }: WeightGrouping): WeightParameters {
  const index = groupIndex(sizes);
  const cells = Array.from({ length: sizes.length * columns }, (_, p) =>
    [...w].filter((_, i) => index[Math.floor(i / columns)]! * columns + (i % columns) === p),
  );
  const ranges = cells.map((c) => (wholeTensor ? [...w] : c)).map((c) => [Math.min(...c), Math.max(...c)] as const);
  const free = ranges.map(([lo, hi]) => parametersFor(lo, hi, spec));
  if (!multiples) return { scale: Float32Array.from(free, (p) => p.scale), zero: Float32Array.from(free, (p) => p.zero) };
  const bounds = codeRange(spec.bits, spec.symmetric);
  const found = free.map((p, at) => {
    const column = [...w].filter((_, i) => i % columns === at % columns);
    const most = Math.max(Math.fround(Math.max(...column.map(Math.abs))) / 119, 1e-30);
    const step = 2 ** (Math.floor(Math.log2(most)) - 11);
    const unit = Math.fround(Math.ceil(most / step) * step);
    const [below, above] = [Math.floor, Math.ceil].map((round) => {
      const scale = Math.fround(Math.max(round(p.scale / unit), 1) * unit);
      const low = bounds.min - roundHalfEven(Math.min(ranges[at]![0], 0) / scale);
      const zero = spec.symmetric ? 0 : Math.min(Math.max(low, bounds.min), bounds.max);
      const error = cells[at]!.reduce((sum, x) => {
        const e = x - fakeQuantize(x, { scale, zero }, spec.bits, spec.symmetric);
        return sum + e * e;
      }, 0);
      return { scale, zero, error };
    });
    return below!.error < above!.error ? below! : above!;
  });
  return { scale: Float32Array.from(found, (p) => p.scale), zero: Float32Array.from(found, (p) => p.zero) };
}

const number = fc.oneof(fc.float({ noNaN: true, noDefaultInfinity: true, min: -100, max: 100 }), fc.constantFrom(0, -0, 0.5, -0.5, 1e-30));

describe('scales and zero points of weights', () => {
  for (const grid of ['standard', 'rptq'] as const)
    for (const symmetric of [true, false])
      test.each([3, 4, 6, 8])(`${grid}, ${symmetric ? 'symmetric' : 'asymmetric'}, %i bits: those of the definition`, (bits) =>
        fc.assert(
          fc.property(
            fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 }),
            fc.integer({ min: 1, max: 4 }),
            fc.infiniteStream(number),
            fc.boolean(),
            fc.boolean(),
            (sizes, columns, numbers, wholeTensor, multiples) => {
              const rows = sizes.reduce((a, b) => a + b);
              const w = Float32Array.from({ length: rows * columns }, () => numbers.next().value as number);
              const grouping = { sizes, wholeTensor, multiples };
              const spec = { bits, symmetric, grid };
              expect(weightParameters(w, columns, spec, grouping)).toEqual(plain(w, columns, spec, grouping));
            },
          ),
          { numRuns: 60 },
        ),
      );
});

describe('with an importance of rows, scales and zero points', () => {
  const spec = { bits: 3, symmetric: false, grid: 'standard' } as const;
  const errorOf = (w: Float32Array, p: WeightParameters, importance: Float32Array): number =>
    w.reduce(
      (sum, x, i) => sum + importance[i]! * (x - fakeQuantize(x, { scale: p.scale[0]!, zero: p.zero[0]! }, spec.bits, spec.symmetric)) ** 2,
      0,
    );
  const column = fc.array(number, { minLength: 2, maxLength: 8 }).map((x) => Float32Array.from(x));

  test('are those of the part of the range that loses least', () =>
    fc.assert(
      fc.property(column, fc.infiniteStream(fc.double({ min: 0, max: 10, noNaN: true })), (w, numbers) => {
        const importance = Float32Array.from(w, () => numbers.next().value as number);
        const grouping = { sizes: [w.length], wholeTensor: false, multiples: false };
        const found = weightParameters(w, 1, spec, grouping, importance);
        const parts = Array.from({ length: 26 }, (_, i) => {
          const [lo, hi] = [Math.min(...w), Math.max(...w)].map((x) => Math.fround(x * (1 - i / 40)));
          const { scale, zero } = parametersFor(lo!, hi!, spec);
          return errorOf(w, { scale: Float32Array.of(scale), zero: Float32Array.of(zero) }, importance);
        });
        expect(errorOf(w, found, importance)).toBe(Math.min(...parts));
      }),
    ));

  test('are those of the whole range where no row counts', () =>
    fc.assert(
      fc.property(column, fc.boolean(), (w, wholeTensor) => {
        const grouping = { sizes: [w.length], wholeTensor, multiples: false };
        expect(weightParameters(w, 1, spec, grouping, new Float32Array(w.length))).toEqual(weightParameters(w, 1, spec, grouping));
      }),
    ));

  test('of a whole tensor are the same for all columns, and fit the rows that count', () => {
    const w = Float32Array.of(7, 7, 1.3, 1.1, -0.4, 0.2);
    const grouping = { sizes: [3], wholeTensor: true, multiples: false };
    const found = weightParameters(w, 2, spec, grouping, Float32Array.of(0, 1, 1));
    expect(new Set(found.scale).size).toBe(1);
    expect(found.scale[0]).toBeLessThan(weightParameters(w, 2, spec, grouping).scale[0]! / 2);
  });

  test('are multiples of a unit where the grid asks for them', () => {
    const w = Float32Array.of(7, 1.3, -0.4, 0.2);
    const grouping = { sizes: [1, 3], wholeTensor: false, multiples: true };
    const { scale } = weightParameters(w, 1, spec, grouping, Float32Array.of(1, 1, 1, 1));
    const most = Math.fround(7 / 119);
    const step = 2 ** (Math.floor(Math.log2(most)) - 11);
    const unit = Math.ceil(most / step) * step;
    const multiples = [...scale].map((x) => x / unit);
    for (const k of multiples) expect([Number.isInteger(k), k >= 1]).toEqual([true, true]);
    expect(multiples[1]).toBeLessThan(multiples[0]!);
  });
});
