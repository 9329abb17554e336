import type { Dim } from '../types.ts';

/** A product of a number and symbols, the symbols sorted: `4*batch*seq`. */
interface Product {
  readonly factor: number;
  readonly symbols: readonly string[];
}

const parse = (d: number | string): Product => {
  if (typeof d === 'number') return { factor: d, symbols: [] };
  const parts = d.split('*');
  const numbers = parts.filter((p) => /^\d+$/.test(p)).map(Number);
  return { factor: numbers.reduce((a, b) => a * b, 1), symbols: parts.filter((p) => !/^\d+$/.test(p)) };
};

const format = ({ factor, symbols }: Product): number | string => {
  if (symbols.length === 0 || factor === 0) return factor;
  const sorted = [...symbols].sort();
  return (factor === 1 ? sorted : [String(factor), ...sorted]).join('*');
};

export function multiply(a: Dim, b: Dim): Dim {
  if (a === null || b === null) return null;
  const [x, y] = [parse(a), parse(b)];
  return format({ factor: x.factor * y.factor, symbols: [...x.symbols, ...y.symbols] });
}

/** a / b where it is known to be whole, else null. */
export function divide(a: Dim, b: Dim): Dim {
  if (a === null || b === null) return null;
  const [x, y] = [parse(a), parse(b)];
  const left = [...x.symbols];
  for (const s of y.symbols) {
    const at = left.indexOf(s);
    if (at < 0) return null;
    left.splice(at, 1);
  }
  return y.factor !== 0 && x.factor % y.factor === 0 ? format({ factor: x.factor / y.factor, symbols: left }) : null;
}

export function plus(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return a + b;
  if (a === 0) return b;
  return b === 0 ? a : null;
}

export const productOf = (dims: readonly Dim[]): Dim => dims.reduce<Dim>(multiply, 1);

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
  return typeof y === 'number' ? y : null;
}

/** The target of a Reshape: 0 copies an extent, -1 takes what is left. */
export function reshaped(from: readonly Dim[] | null, target: readonly Dim[], allowZero: boolean): readonly Dim[] {
  const copied = target.map((d, i) => (d === 0 && !allowZero ? (from?.[i] ?? null) : d));
  const open = copied.indexOf(-1);
  if (open < 0) return copied;
  const rest = productOf(copied.filter((_, i) => i !== open));
  return copied.map((d, i) => (i === open ? (from ? divide(productOf(from), rest) : null) : d));
}
