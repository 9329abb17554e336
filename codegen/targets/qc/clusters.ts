import type { FakeQuantize } from '../../../ir/ops/qc.ts';
import { floats, integers } from '../../../ir/tensor.ts';
import { storedBits, type StoredBits } from '../../kernels/packing.ts';
import { step } from '../../kernels/operators.ts';
import { runs, type QuantizedWeight } from '../quantized.ts';

/** A static quantizer of an activation, by runs of channels. */
export interface ActivationClusters {
  readonly sizes: readonly number[];
  /** One for each run. */
  readonly scale: Float32Array;
  readonly zero: Float32Array;
  readonly bits: StoredBits;
  readonly qmin: number;
  readonly qmax: number;
}

/** The clusters of an activation's FakeQuantize, or why kernels cannot take them. */
export function clustersOf(fake: FakeQuantize): ActivationClusters | string {
  const [scale, zero, index] = [fake.scale.constant, fake.zero.constant, fake.index.constant];
  const bits = storedBits(fake.qmin, fake.qmax);
  if (!scale || !zero || !index) return 'the quantizer of its input is not constant';
  if (bits === null) return `codes from ${fake.qmin} to ${fake.qmax} do not fit 8 bits`;
  const groups = integers(index);
  const sizes = runs(groups);
  if (!aligned(sizes)) return `clusters of its input do not end at multiples of ${step} channels`;
  const first = starts(sizes).map((at) => groups[at]!);
  const pick = (v: Float32Array): Float32Array => Float32Array.from(first, (g) => v[g]!);
  return { sizes, scale: pick(floats(scale)), zero: pick(floats(zero)), bits, qmin: fake.qmin, qmax: fake.qmax };
}

/** Whether all runs but the last are whole steps. */
const aligned = (sizes: readonly number[]): boolean => sizes.slice(0, -1).every((n) => n % step === 0);

const starts = (sizes: readonly number[]): readonly number[] => {
  let at = 0;
  return sizes.map((n) => (at += n) - n);
};

/** A run of input channels that share the scales of the activation and of the weight. */
export interface Segment {
  readonly size: number;
  /** The runs of the activation and of the weight that it lies in. */
  readonly activation: number;
  readonly weight: number;
}

/** The coarsest runs that refine both partitions. */
export function segments(activation: readonly number[], weight: readonly number[]): readonly Segment[] {
  const ends = (sizes: readonly number[]): readonly number[] => starts(sizes).map((s, i) => s + sizes[i]!);
  const [a, w] = [ends(activation), ends(weight)];
  const found: Segment[] = [];
  for (let at = 0, i = 0, j = 0; i < a.length && j < w.length;) {
    const end = Math.min(a[i]!, w[j]!);
    found.push({ size: end - at, activation: i, weight: j });
    at = end;
    if (a[i] === end) i++;
    if (w[j] === end) j++;
  }
  return found;
}

/** Why kernels cannot take a weight; null if they can. */
export function weightRefusal(w: QuantizedWeight): string | null {
  const bits = storedBits(w.qmin, w.qmax);
  if (bits === null) return `its weight has codes from ${w.qmin} to ${w.qmax}`;
  if (!aligned(w.sizes)) return `row groups of its weight do not end at multiples of ${step} rows`;
  const most = 2 ** (bits - 1) - 1;
  return floats(w.zero).some((z) => z < -most - 1 || z > most) ? `a zero point of its weight is no code of ${bits} bits` : null;
}
