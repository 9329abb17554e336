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
 * The prints of some matrices, in this order. What could not equal another by its type and shape is not read, and nothing is read twice;
 * memory holds one matrix and its transpose at most.
 */
export function printsOf(matrices: readonly Tensor[]): readonly Prints[] {
  const keyOf = keys();
  const contents = [...new Map(matrices.map((t) => [keyOf(t), t] as const))];
  const needs = needsOf(contents.map(([, t]) => t));
  const prints = new Map(contents.map(([key, t], i) => [key, printsOfOne(t, key, needs[i]!)] as const));
  return matrices.map((t) => prints.get(keyOf(t))!);
}

/** A matrix is compared with others of its shape, and with the transposes of earlier ones of its shape reversed. */
function needsOf(matrices: readonly Tensor[]): readonly Need[] {
  const shapes = matrices.map((t) => shapeText(t));
  return matrices.map((t, i) => {
    const reversed = shapeText(t, true);
    const own = shapes.some((s, k) => k !== i && s === shapes[i]) || shapes.slice(0, i).includes(reversed);
    return { own, turned: bitsOf(t.dtype) % 8 === 0 && shapes.includes(reversed, i + 1) };
  });
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
