import type { ChannelRange } from '../../../ir/channel.ts';

/** Where the channels of a site lie: centre and largest distance from it. */
export interface Centred {
  readonly centre: Float64Array;
  readonly half: Float64Array;
}

/** z_j = (max_j + min_j) / 2, or 0 without shift; half_j = max |x_j - z_j| (eq. 1 and 2). */
export function centred({ min, max }: ChannelRange, shift: boolean): Centred {
  const centre = Float64Array.from(min, (lo, j) => (shift ? (lo + max[j]!) / 2 : 0));
  const half = Float64Array.from(min, (lo, j) => Math.max(Math.abs(max[j]! - centre[j]!), Math.abs(lo - centre[j]!)));
  return { centre, half };
}

/** s_j = max(1, half_j / t): only channels wider than the threshold shrink (eq. 8). */
export const widths = (half: Float64Array, threshold: number): Float64Array => half.map((h) => Math.max(1, h / threshold));

/**
 * The thresholds that the search tries, descending from the widest channel to `low`: t = A, A - step, ... with step = (A - low) / n
 * and n = max(100, floor(A+ / 0.5)), A+ being the largest positive value. Empty when the widest channel is below `low`.
 */
export function thresholds(half: Float64Array, low: number, steps: number | null, largest: number): readonly number[] {
  const widest = half.reduce((a, b) => Math.max(a, b), 0);
  if (widest < low) return [];
  const n = steps ?? Math.max(100, Math.floor(largest / 0.5));
  const step = (widest - low) / n;
  if (step === 0) return [widest];
  return Array.from({ length: n + 1 }, (_, k) => widest - k * step);
}
