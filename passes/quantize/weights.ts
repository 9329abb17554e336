import { codeRange, eachRow, parametersOn, roundHalfEven, type QuantSpec } from '../../ir/quant.ts';

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
  const { min, max } = extremes(w, columns, sizes);
  if (wholeTensor) {
    min.fill(min.reduce((a, b) => Math.min(a, b)));
    max.fill(max.reduce((a, b) => Math.max(a, b)));
  }
  const free = freeParameters(min, max, spec);
  return multiples ? onMultiples(w, columns, sizes, free, min, spec) : free;
}

/** The least and the largest weight of every group and column. */
function extremes(w: Float32Array, columns: number, sizes: readonly number[]): { readonly min: Float32Array; readonly max: Float32Array } {
  const min = new Float32Array(sizes.length * columns).fill(Infinity);
  const max = new Float32Array(sizes.length * columns).fill(-Infinity);
  eachRow(sizes, columns, (row, group) => widen(min, max, w, row, group, columns));
  return { min, max };
}

function widen(min: Float32Array, max: Float32Array, w: Float32Array, row: number, group: number, columns: number): void {
  for (let c = 0; c < columns; c++) {
    const x = w[row + c]!;
    if (x < min[group + c]!) min[group + c] = x;
    if (x > max[group + c]!) max[group + c] = x;
  }
}

function freeParameters(min: Float32Array, max: Float32Array, spec: WeightSpec): WeightParameters {
  const [scale, zero] = [new Float32Array(min.length), new Float32Array(min.length)];
  const parameters = parametersOn(spec);
  for (let p = 0; p < min.length; p++) {
    const found = parameters(min[p]!, max[p]!);
    scale[p] = found.scale;
    zero[p] = found.zero;
  }
  return { scale, zero };
}

/** Scales at multiples of a 119th of the column's largest weight: of the multiples below and above, the one with the lesser squared error. */
function onMultiples(
  w: Float32Array,
  columns: number,
  sizes: readonly number[],
  free: WeightParameters,
  low: Float32Array,
  spec: WeightSpec,
): WeightParameters {
  const unit = largestOf(w, columns).map((x) => shortened(Math.max(x / carrierRange, 1e-30)));
  const zeroFor = zeroRule(spec);
  const rounded = (round: (x: number) => number): WeightParameters => {
    const [scale, zero] = [new Float32Array(low.length), new Float32Array(low.length)];
    for (let i = 0; i < low.length; i++) {
      const step = unit[i % columns]!;
      scale[i] = Math.max(round(free.scale[i]! / step), 1) * step;
      zero[i] = zeroFor(low[i]!, scale[i]!);
    }
    return { scale, zero };
  };
  const [below, above] = [rounded(Math.floor), rounded(Math.ceil)];
  const [errorBelow, errorAbove] = [below, above].map((p) => squaredErrors(w, columns, sizes, p, spec));
  const better = (name: keyof WeightParameters) => below[name].map((x, i) => (errorBelow![i]! < errorAbove![i]! ? x : above[name][i]!));
  return { scale: better('scale'), zero: better('zero') };
}

/** The largest magnitude in every column. */
function largestOf(w: Float32Array, columns: number): Float32Array {
  const largest = new Float32Array(columns);
  for (let start = 0; start < w.length; start += columns)
    for (let c = 0; c < columns; c++) {
      const x = Math.abs(w[start + c]!);
      if (x > largest[c]!) largest[c] = x;
    }
  return largest;
}

/** The zero point of a group whose least weight and whose scale are given. */
function zeroRule({ bits, symmetric }: WeightSpec): (low: number, scale: number) => number {
  if (symmetric) return () => 0;
  const { min, max } = codeRange(bits, symmetric);
  return (low, scale) => Math.min(Math.max(min - roundHalfEven(Math.min(low, 0) / scale), min), max);
}

/** The squared error of every group and column. */
function squaredErrors(
  w: Float32Array,
  columns: number,
  sizes: readonly number[],
  { scale, zero }: WeightParameters,
  { bits, symmetric }: WeightSpec,
): Float64Array {
  const sums = new Float64Array(scale.length);
  const { min, max } = codeRange(bits, symmetric);
  eachRow(sizes, columns, (row, group) => addErrors(sums, w, scale, zero, row, group, columns, min, max));
  return sums;
}

/**
 * Adds the square of x less what `fakeQuantize` makes of it, for one row. A sum with 1.5 * 2^52 in f64 has no room for fractions, so taking
 * that off again rounds half to even. The number stands in the loop, where the compiler of JavaScript sees that it is one.
 */
function addErrors(
  sums: Float64Array,
  w: Float32Array,
  scale: Float32Array,
  zero: Float32Array,
  row: number,
  group: number,
  columns: number,
  min: number,
  max: number,
): void {
  for (let c = 0; c < columns; c++) {
    const x = w[row + c]!;
    const s = scale[group + c]!;
    const z = zero[group + c]!;
    const code = x / s + 6755399441055744 - 6755399441055744 + z;
    const error = x - ((code < min ? min : code > max ? max : code) - z) * s;
    sums[group + c]! += error * error;
  }
}

/** x rounded up to 12 bits, so that its products with codes and multiples are exact in f32, in whatever order. */
function shortened(x: number): number {
  const step = 2 ** (Math.floor(Math.log2(x)) - 11);
  return Math.ceil(x / step) * step;
}
