import { codeRange, eachGroup, parametersOn, roundHalfEven, type QuantSpec } from '../../ir/quant.ts';
import { room, rows } from '../../ir/simd/rows.ts';

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

/** The parts of a range that a search for the least error tries. */
const ratios = Array.from({ length: 26 }, (_, i) => 1 - i / 40);

/**
 * Round-to-nearest scales and zero points of W [in, out], one for each run of rows and each column; or one for all. They span the whole range,
 * or, where the squared errors of each row have an `importance` [in], the part of it with the least sum of importance times squared error.
 */
export function weightParameters(
  w: Float32Array,
  columns: number,
  spec: WeightSpec,
  { sizes, wholeTensor, multiples }: WeightGrouping,
  importance: Float32Array | null = null,
): WeightParameters {
  const ofGroups = extremes(w, columns, sizes);
  const found = wholeTensor ? ofAll(ofGroups) : ofGroups;
  const ranges = importance ? ratios.map((r) => scaled(found, r)) : [found];
  const unit = multiples ? unitsOf(ofGroups, columns) : null;
  const candidates = ranges.flatMap((range) => {
    const free = freeParameters(range, spec);
    return unit ? onMultiples(unit, free, range.min, spec) : [free];
  });
  const errors = (p: WeightParameters): Float64Array => {
    const ofCells = squaredErrors(w, columns, sizes, p, spec, importance);
    return wholeTensor && !multiples ? ofCells.fill(ofCells.reduce((a, b) => a + b)) : ofCells;
  };
  return candidates.length === 1 ? candidates[0]! : leastError(candidates, errors);
}

/** Of each group and column, the parameters of the candidate with the least error, the first of those. */
function leastError([first, ...others]: readonly WeightParameters[], errors: (p: WeightParameters) => Float64Array): WeightParameters {
  const best = { scale: first!.scale.slice(), zero: first!.zero.slice() };
  const least = errors(first!);
  for (const other of others)
    errors(other).forEach((error, i) => {
      if (error >= least[i]!) return;
      least[i] = error;
      best.scale[i] = other.scale[i]!;
      best.zero[i] = other.zero[i]!;
    });
  return best;
}

/** The least and the largest weight of every group and column, [groups, out]. */
interface Extremes {
  readonly min: Float32Array;
  readonly max: Float32Array;
}

function extremes(w: Float32Array, columns: number, sizes: readonly number[]): Extremes {
  const [min, max] = [new Float32Array(sizes.length * columns), new Float32Array(sizes.length * columns)];
  const { row, low, high } = room({ row: ['f32', columns], low: ['f32', columns], high: ['f32', columns] });
  eachGroup(sizes, columns, (group, first, end) => {
    low.fill(Infinity);
    high.fill(-Infinity);
    for (let at = first; at < end; at += columns) {
      row.set(w.subarray(at, at + columns));
      rows.widen(low.byteOffset, high.byteOffset, row.byteOffset, columns);
    }
    min.set(low, group);
    max.set(high, group);
  });
  return { min, max };
}

/** The least and the largest of all, for every group and column. */
const ofAll = ({ min, max }: Extremes): Extremes => ({
  min: new Float32Array(min.length).fill(min.reduce((a, b) => Math.min(a, b))),
  max: new Float32Array(max.length).fill(max.reduce((a, b) => Math.max(a, b))),
});

const scaled = ({ min, max }: Extremes, ratio: number): Extremes => ({ min: min.map((x) => x * ratio), max: max.map((x) => x * ratio) });

/** Where the first element lies that is infinite or no number; -1 if there is none. */
export function firstUnbounded(w: Float32Array): number {
  const size = Math.min(w.length, 4096);
  const { part } = room({ part: ['f32', size] });
  for (let at = 0; at < w.length; at += size) {
    const found = w.subarray(at, at + size);
    part.set(found);
    if (rows.hasUnbounded(part.byteOffset, found.length)) return at + found.findIndex((x) => !Number.isFinite(x));
  }
  return -1;
}

function freeParameters({ min, max }: Extremes, spec: WeightSpec): WeightParameters {
  const [scale, zero] = [new Float32Array(min.length), new Float32Array(min.length)];
  const parameters = parametersOn(spec);
  for (let p = 0; p < min.length; p++) {
    const found = parameters(min[p]!, max[p]!);
    scale[p] = found.scale;
    zero[p] = found.zero;
  }
  return { scale, zero };
}

/** Scales at the multiples above and below of the `unit` of each column, a 119th of its largest weight. */
function onMultiples(unit: Float32Array, free: WeightParameters, low: Float32Array, spec: WeightSpec): readonly WeightParameters[] {
  const columns = unit.length;
  const zeroFor = zeroRule(spec);
  return [Math.ceil, Math.floor].map((round) => {
    const [scale, zero] = [new Float32Array(low.length), new Float32Array(low.length)];
    for (let i = 0; i < low.length; i++) {
      const step = unit[i % columns]!;
      scale[i] = Math.max(round(free.scale[i]! / step), 1) * step;
      zero[i] = zeroFor(low[i]!, scale[i]!);
    }
    return { scale, zero };
  });
}

/** The largest magnitude of each column of W [in, out]. */
export const largestOfColumns = (w: Float32Array, columns: number): Float32Array =>
  largestOf(extremes(w, columns, [w.length / columns]), columns);

function largestOf({ min, max }: Extremes, columns: number): Float32Array {
  const largest = new Float32Array(columns);
  for (let start = 0; start < min.length; start += columns)
    for (let c = 0; c < columns; c++) largest[c] = Math.max(largest[c]!, -min[start + c]!, max[start + c]!);
  return largest;
}

/** What scales of a column are multiples of, given the least and the largest weights of its groups. */
function unitsOf(found: Extremes, columns: number): Float32Array {
  return largestOf(found, columns).map((x) => shortened(Math.max(x / carrierRange, 1e-30)));
}

/** The zero point of a group whose least weight and whose scale are given. */
function zeroRule({ bits, symmetric }: WeightSpec): (low: number, scale: number) => number {
  if (symmetric) return () => 0;
  const { min, max } = codeRange(bits, symmetric);
  return (low, scale) => Math.min(Math.max(min - roundHalfEven(Math.min(low, 0) / scale), min), max);
}

/** The squared error of every group and column, that of each row times its importance. */
function squaredErrors(
  w: Float32Array,
  columns: number,
  sizes: readonly number[],
  { scale, zero }: WeightParameters,
  { bits, symmetric }: WeightSpec,
  importance: Float32Array | null,
): Float64Array {
  const sums = new Float64Array(scale.length);
  const { min, max } = codeRange(bits, symmetric);
  const of = room({ row: ['f32', columns], scale: ['f32', columns], zero: ['f32', columns], error: ['f64', columns] });
  const [row, scales, zeros, error] = [of.row.byteOffset, of.scale.byteOffset, of.zero.byteOffset, of.error.byteOffset];
  eachGroup(sizes, columns, (group, first, end) => {
    of.scale.set(scale.subarray(group, group + columns));
    of.zero.set(zero.subarray(group, group + columns));
    of.error.fill(0);
    for (let at = first; at < end; at += columns) {
      of.row.set(w.subarray(at, at + columns));
      rows.addErrors(error, row, scales, zeros, columns, min, max, importance?.[at / columns] ?? 1);
    }
    sums.set(of.error, group);
  });
  return sums;
}

/** x rounded up to 12 bits, so that its products with codes and multiples are exact in f32, in whatever order. */
function shortened(x: number): number {
  const step = 2 ** (Math.floor(Math.log2(x)) - 11);
  return Math.ceil(x / step) * step;
}
