import { codeRange, fakeQuantize, groupIndex, parametersFor, roundHalfEven, type QuantParameters, type QuantSpec } from '../../ir/quant.ts';

export type WeightSpec = Pick<QuantSpec, 'bits' | 'symmetric' | 'grid'>;

export interface WeightParameters {
  /** [groups, out]. */
  readonly scale: Float32Array;
  /** [groups, out], integers. */
  readonly zero: Float32Array;
}

export interface WeightGrouping {
  /** Rows that share a scale. */
  readonly sizes: readonly number[];
  /** One scale for all columns too. */
  readonly wholeTensor: boolean;
  /** Scales of a column are whole multiples of one, such that (code - zero) * multiple fits 8 bits. */
  readonly multiples: boolean;
}

/** What is left of 8 bits for the largest weight of a column when its code may be off by half of the largest multiple, 16. */
const carrierRange = 119;

/** Round-to-nearest scales and zero points of W [in, out], one for each run of rows and each column; or one for all. */
export function weightParameters(
  w: Float32Array,
  columns: number,
  spec: WeightSpec,
  { sizes, wholeTensor, multiples }: WeightGrouping,
): WeightParameters {
  const min = new Float32Array(sizes.length * columns).fill(Infinity);
  const max = new Float32Array(sizes.length * columns).fill(-Infinity);
  const index = groupIndex(sizes);
  index.forEach((g, row) => {
    for (let c = 0; c < columns; c++) {
      const [x, p] = [w[row * columns + c]!, g * columns + c];
      if (x < min[p]!) min[p] = x;
      if (x > max[p]!) max[p] = x;
    }
  });
  if (wholeTensor) {
    min.fill(min.reduce((a, b) => Math.min(a, b)));
    max.fill(max.reduce((a, b) => Math.max(a, b)));
  }
  const free = Array.from(min, (lo, p) => parametersFor(lo, max[p]!, spec));
  if (!multiples) return { scale: Float32Array.from(free, (p) => p.scale), zero: Float32Array.from(free, (p) => p.zero) };
  return onMultiples(w, columns, index, free, min, spec);
}

/** Scales at multiples of a 119th of the column's largest weight: of the multiples below and above, the one with the lesser squared error. */
function onMultiples(
  w: Float32Array,
  columns: number,
  index: readonly number[],
  free: readonly QuantParameters[],
  low: Float32Array,
  spec: WeightSpec,
): WeightParameters {
  const largest = new Float32Array(columns);
  w.forEach((x, i) => (largest[i % columns] = Math.max(largest[i % columns]!, Math.abs(x))));
  const unit = largest.map((x) => shortened(Math.max(x / carrierRange, 1e-30)));
  const rounded = (round: (x: number) => number): WeightParameters => {
    const scale = Float32Array.from(free, (p, i) => Math.max(round(p.scale / unit[i % columns]!), 1) * unit[i % columns]!);
    return { scale, zero: scale.map((s, i) => zeroFor(low[i]!, s, spec)) };
  };
  const [below, above] = [rounded(Math.floor), rounded(Math.ceil)];
  const [errorBelow, errorAbove] = [below, above].map((p) => squaredErrors(w, columns, index, p, spec));
  const better = (name: keyof WeightParameters) => below[name].map((x, i) => (errorBelow![i]! < errorAbove![i]! ? x : above[name][i]!));
  return { scale: better('scale'), zero: better('zero') };
}

function zeroFor(low: number, scale: number, spec: WeightSpec): number {
  const bounds = codeRange(spec.bits, spec.symmetric);
  return spec.symmetric ? 0 : Math.min(Math.max(bounds.min - roundHalfEven(Math.min(low, 0) / scale), bounds.min), bounds.max);
}

/** The squared error of every group and column. */
function squaredErrors(w: Float32Array, columns: number, index: readonly number[], p: WeightParameters, spec: WeightSpec): Float64Array {
  const errors = new Float64Array(p.scale.length);
  index.forEach((g, row) => {
    for (let c = 0; c < columns; c++) {
      const at = g * columns + c;
      const x = w[row * columns + c]!;
      errors[at]! += (x - fakeQuantize(x, { scale: p.scale[at]!, zero: p.zero[at]! }, spec.bits, spec.symmetric)) ** 2;
    }
  });
  return errors;
}

/** x rounded up to 12 bits, so that its products with codes and multiples are exact in f32, in whatever order. */
function shortened(x: number): number {
  const step = 2 ** (Math.floor(Math.log2(x)) - 11);
  return Math.ceil(x / step) * step;
}
