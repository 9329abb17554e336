import { floatsFromHalf } from '../../ir/float16.ts';
import { isFloat } from '../../ir/types.ts';
import type { Feeds, HostTensor } from './executor.ts';

/**
 * max |a - b| / max |a| over float arrays, the largest of all that `a` has, but for elements that are NaN in `a` (padding whose row is masked
 * altogether): they mean nothing, so nothing is kept by keeping them. Infinite when shapes or infinities differ. Other arrays must be equal.
 */
export function largestDifference(a: Feeds, b: Feeds): number {
  return Object.entries(a).reduce((worst, [name, x]) => Math.max(worst, between(x, b[name])), 0);
}

function between(a: HostTensor, b: HostTensor | undefined): number {
  if (!b || a.data.length !== b.data.length) return Infinity;
  if (!isFloat(a.dtype)) return a.data.every((x, i) => x === b.data[i]) ? 0 : Infinity;
  return isFloat(b.dtype) ? distance(numbersIn(a), numbersIn(b)) : Infinity;
}

/** Halves come as codes. */
export const numbersIn = ({ data }: HostTensor): ArrayLike<number | bigint> => (data instanceof Uint16Array ? floatsFromHalf(data) : data);

function distance(a: ArrayLike<number | bigint>, b: ArrayLike<number | bigint>): number {
  let largest = 0;
  let magnitude = 0;
  for (let i = 0; i < a.length; i++) {
    const x = Number(a[i]);
    const y = Number(b[i]);
    if (Number.isFinite(x)) magnitude = Math.max(magnitude, Math.abs(x));
    if (Number.isNaN(x) || x === y) continue;
    largest = Number.isFinite(x) && Number.isFinite(y) ? Math.max(largest, Math.abs(x - y)) : Infinity;
    if (largest === Infinity) return Infinity;
  }
  return largest === 0 ? 0 : largest / Math.max(magnitude, 1e-12);
}
