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
