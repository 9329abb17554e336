import type { Dim } from '../types.ts';
import { format, parse, product, quotient, substituted, sum } from './polynomial.ts';

export function multiply(a: Dim, b: Dim): Dim {
  return a === null || b === null ? null : format(product(parse(a), parse(b)));
}

/** a / b where it is known to be whole, else null. */
export function divide(a: Dim, b: Dim): Dim {
  if (a === null || b === null) return null;
  const found = quotient(parse(a), parse(b));
  return found && format(found);
}

export function plus(a: Dim, b: Dim): Dim {
  return a === null || b === null ? null : format(sum(parse(a), parse(b)));
}

export const minus = (a: Dim, b: Dim): Dim => plus(a, multiply(b, -1));

export const productOf = (dims: readonly Dim[]): Dim => dims.reduce<Dim>(multiply, 1);

/** Whether a is at least b whatever the symbols stand for, none of which is negative. */
export function atLeast(a: Dim, b: Dim): boolean {
  const difference = minus(a, b);
  return difference !== null && [...parse(difference).values()].every((factor) => factor >= 0);
}

/** An extent with another one in the place of a symbol; null where the symbol is in what is one symbol itself, as in `min(48,seq)`. */
export function withExtent(d: Dim, symbol: string, by: Dim): Dim {
  if (d === null || by === null) return null;
  const found = substituted(parse(d), symbol, parse(by));
  return found && format(found);
}

/** The lesser of two extents: one of them where that is known, else a symbol of its own, `min(48,seq)`. */
export function lesser(a: Dim, b: Dim): Dim {
  if (atLeast(a, b)) return b;
  if (atLeast(b, a)) return a;
  return a === null || b === null ? null : `min(${[a, b].map(String).sort().join(',')})`;
}

/** Whether both shapes are known and the same. */
export const sameShape = (a: readonly Dim[] | null | undefined, b: readonly Dim[] | null | undefined): boolean =>
  !!a && !!b && a.length === b.length && a.every((d, i) => d !== null && d === b[i]);

/** The shape of an elementwise operator's result (NumPy broadcasting). A symbol against a number other than 1 is taken for the number. */
export function broadcast(a: readonly Dim[], b: readonly Dim[]): readonly Dim[] {
  const rank = Math.max(a.length, b.length);
  const at = (s: readonly Dim[], i: number): Dim => (i < rank - s.length ? 1 : s[i - rank + s.length]!);
  return Array.from({ length: rank }, (_, i) => joined(at(a, i), at(b, i)));
}

function joined(x: Dim, y: Dim): Dim {
  if (x === 1) return y;
  if (y === 1 || x === y) return x;
  if (typeof x === 'number') return x;
  if (typeof y === 'number') return y;
  // min(48, n) against n is n: where 48 is the lesser one, the two do not broadcast at all.
  if (isLesserOf(x, y)) return y;
  return isLesserOf(y, x) ? x : null;
}

const isLesserOf = (least: Dim, x: Dim): boolean =>
  typeof least === 'string' && typeof x === 'string' && /^min\(\d+,/.test(least) && least.endsWith(`,${x})`);

/** The target of a Reshape: 0 copies an extent, -1 takes what is left. */
export function reshaped(from: readonly Dim[] | null, target: readonly Dim[], allowZero: boolean): readonly Dim[] {
  const copied = target.map((d, i) => (d === 0 && !allowZero ? (from?.[i] ?? null) : d));
  const open = copied.indexOf(-1);
  if (open < 0) return copied;
  const rest = productOf(copied.filter((_, i) => i !== open));
  return copied.map((d, i) => (i === open ? (from ? divide(productOf(from), rest) : null) : d));
}
