import { createHash } from 'node:crypto';
import { inMemory, transposed, type Tensor } from '../../ir/tensor.ts';
import { bitsOf } from '../../ir/types.ts';

/** What stands for a matrix when it is compared: equal prints are equal types, shapes and bytes. */
export interface Prints {
  readonly own: string;
  /** That of the transpose; null where nothing that comes later could have it. */
  readonly turned: string | null;
}

/** What of a matrix is to be compared with others: its bytes as they lie, and those of its transpose. */
interface Need {
  readonly own: boolean;
  readonly turned: boolean;
}

/**
 * The prints of some matrices, in this order. What could not equal another by its type, shape and corner is not read whole; memory holds one
 * matrix and its transpose at most.
 */
export function printsOf(matrices: readonly Tensor[]): readonly Prints[] {
  const keyOf = keys();
  const contents = [...new Map(matrices.map((t) => [keyOf(t), t] as const))];
  const needs = needsOf(contents.map(([, t]) => t));
  const prints = new Map(contents.map(([key, t], i) => [key, printsOfOne(t, key, needs[i]!)] as const));
  return matrices.map((t) => prints.get(keyOf(t))!);
}

/** A matrix is compared with others of its shape, and with the transposes of earlier ones of its shape reversed, where corners agree. */
function needsOf(matrices: readonly Tensor[]): readonly Need[] {
  const [shapes, reversed] = [matrices.map((t) => shapeText(t)), matrices.map((t) => shapeText(t, true))];
  const isAlone = (i: number): boolean => !shapes.some((s, k) => k !== i && (s === shapes[i] || s === reversed[i]));
  const corners = matrices.map((t, i) => (isAlone(i) ? null : cornerOf(t)));
  const isCopy = (i: number, k: number): boolean => k !== i && shapes[k] === shapes[i] && mayEqual(corners[k]?.own, corners[i]?.own);
  /** Whether k may be the transpose of i. */
  const isTurn = (i: number, k: number): boolean => i < k && shapes[k] === reversed[i] && mayEqual(corners[i]?.turned, corners[k]?.own);
  return matrices.map((t, i) => ({
    own: matrices.some((_, k) => isCopy(i, k) || isTurn(k, i)),
    turned: bitsOf(t.dtype) % 8 === 0 && matrices.some((_, k) => isTurn(i, k)),
  }));
}

/** Unknown corners may be those of any other matrix. */
const mayEqual = (a: string | undefined, b: string | undefined): boolean => a === undefined || b === undefined || a === b;

/** The most rows and columns of a corner. */
const side = 8;

/**
 * The first elements of the first rows, as they lie and transposed, of a matrix in a file; null for other matrices, which come as a whole or
 * not at all. Two of a trained model that differ do so there, so that neither is read any further.
 */
function cornerOf({ dtype, shape, origin, chunks }: Tensor): { readonly own: string; readonly turned: string } | null {
  const [rows = 0, columns = 0] = shape;
  const size = bitsOf(dtype) / 8;
  const count = Math.min(side, rows, columns);
  if (origin.kind !== 'file' || !chunks || !Number.isInteger(size) || count === 0) return null;
  const [bytes = new Uint8Array()] = chunks(count * columns * size);
  const element = (r: number, c: number): string => bytes.subarray((r * columns + c) * size, (r * columns + c + 1) * size).join();
  const places = Array.from({ length: count * count }, (_, i) => [Math.floor(i / count), i % count] as const);
  return { own: places.map(([r, c]) => element(r, c)).join(';'), turned: places.map(([r, c]) => element(c, r)).join(';') };
}

/** Names of contents: one object, and one range of a file in one shape, have one name. */
function keys(): (t: Tensor) => string {
  const numbers = new Map<Tensor, number>();
  return (t) => {
    const { origin } = t.source ?? t;
    if (origin.kind === 'file') return `${shapeText(t)} ${origin.path}:${origin.offset}:${origin.length}`;
    if (!numbers.has(t)) numbers.set(t, numbers.size);
    return `${shapeText(t)} ${numbers.get(t)}`;
  };
}

const shapeText = ({ dtype, shape }: Tensor, reversed = false): string => `${dtype}[${(reversed ? shape.toReversed() : shape).join()}]`;

/** `key` stands for bytes that need not be read. */
function printsOfOne(t: Tensor, key: string, { own, turned }: Need): Prints {
  const printOf = (like: Tensor, parts: Iterable<Uint8Array>): string => `${shapeText(like)} ${digest(parts)}`;
  if (!turned) return { own: own ? printOf(t, t.chunks?.(part) ?? [t.bytes()]) : key, turned: null };
  const bytes = t.bytes();
  const transpose = transposed(inMemory(t.dtype, t.shape, bytes));
  return { own: own ? printOf(t, [bytes]) : key, turned: printOf(transpose, [transpose.bytes()]) };
}

function digest(parts: Iterable<Uint8Array>): string {
  const hash = createHash('sha256');
  for (const bytes of parts) hash.update(bytes);
  return hash.digest('hex');
}

/** Files are read in parts of this many bytes. */
const part = 8 * 1024 * 1024;
