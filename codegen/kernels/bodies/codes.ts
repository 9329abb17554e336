import { int, ints } from '../../../ir/attributes.ts';
import type { BodyWriter } from '../../onnx/body-writer.ts';

// Packed codes in standard operators. Rows are [R, P] with P bytes; see "Packing" in docs/operators.md.

const elementType = { f32: 1, u8: 2, i32: 6, i64: 7 } as const;

export const cast = (b: BodyWriter, x: string, to: keyof typeof elementType): string => b.node('Cast', [x], { to: int(elementType[to]) });

/** A column of i32 numbers [n, 1], which broadcasts over the four bytes of a word. */
const column = (b: BodyWriter, values: readonly number[]): string =>
  cast(b, b.node('Reshape', [b.ints(values), b.ints([values.length, 1])]), 'i32');

const number = (b: BodyWriter, value: number): string => cast(b, b.int(value), 'i32');

const reshaped = (b: BodyWriter, x: string, shape: readonly number[]): string => b.node('Reshape', [x, b.ints(shape)]);

/** Stored codes, i32 [R, channels of whole steps], of packed rows. */
export function unpacked(b: BodyWriter, packed: string, bits: number): string {
  const bytes = cast(b, packed, 'i32');
  switch (bits) {
    case 8:
      return bytes;
    case 4: {
      const halves = b.node('Div', [reshaped(b, bytes, [0, -1, 1, 4]), column(b, [1, 16])]);
      return reshaped(b, b.node('Mod', [halves, number(b, 16)]), [0, -1]);
    }
    default: {
      const words = reshaped(b, bytes, [0, -1, 3, 4]);
      const pairs = b.node('Slice', [words, b.ints([0]), b.ints([2]), b.ints([2])]);
      const low = b.node('Mod', [b.node('Div', [reshaped(b, pairs, [0, -1, 1, 4]), column(b, [1, 4, 16, 64])]), number(b, 4)]);
      const third = b.node('Slice', [words, b.ints([2]), b.ints([3]), b.ints([2])]);
      const high = b.node('Mod', [b.node('Div', [third, column(b, powers(8))]), number(b, 2)]);
      const codes = b.node('Add', [reshaped(b, low, [0, -1, 8, 4]), b.node('Mul', [high, number(b, 4)])]);
      return reshaped(b, codes, [0, -1]);
    }
  }
}

/** Packed rows of stored codes, i32 [R, C]; the last step is filled up with zeros. */
export function packed(b: BodyWriter, codes: string, bits: number): string {
  const whole = padded(b, codes);
  switch (bits) {
    case 8:
      return cast(b, whole, 'u8');
    case 4: {
      const halves = b.node('Mul', [reshaped(b, whole, [0, -1, 2, 4]), column(b, [1, 16])]);
      return cast(b, reshaped(b, b.node('ReduceSum', [halves, b.ints([2])], { keepdims: int(0) }), [0, -1]), 'u8');
    }
    default: {
      const quads = reshaped(b, whole, [0, -1, 8, 4]);
      const low = reshaped(b, b.node('Mod', [quads, number(b, 4)]), [0, -1, 4, 4]);
      const pairs = b.node('ReduceSum', [b.node('Mul', [low, column(b, [1, 4, 16, 64])]), b.ints([2])], { keepdims: int(0) });
      const high = b.node('Mul', [b.node('Div', [quads, number(b, 4)]), column(b, powers(8))]);
      const third = b.node('ReduceSum', [high, b.ints([2])], { keepdims: int(1) });
      const words = b.node('Concat', [reshaped(b, pairs, [0, -1, 2, 4]), third], { axis: int(2) });
      return cast(b, reshaped(b, words, [0, -1]), 'u8');
    }
  }
}

const powers = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => 2 ** i);

function padded(b: BodyWriter, codes: string): string {
  const channels = b.node('Shape', [codes], { start: int(1) });
  const missing = b.node('Mod', [b.node('Neg', [channels]), b.ints([32])]);
  return b.node('Pad', [codes, b.node('Concat', [b.ints([0, 0, 0]), missing], { axis: int(0) })]);
}

/** The first `channels` (i64 [1]) of each row. */
export const clipped = (b: BodyWriter, rows: string, channels: string): string =>
  b.node('Slice', [rows, b.ints([0]), channels, b.ints([1])]);

/** [R, bytes] rows of a packed weight: one for each output channel of its tiles. */
export function weightRows(b: BodyWriter, weight: string, bits: number): string {
  const steps = b.node('Shape', [weight], { start: int(1), end: int(2) });
  const lanes = b.node('Concat', [b.ints([-1]), steps, b.ints([bits, 16, 4])], { axis: int(0) });
  const words = b.node('Transpose', [b.node('Reshape', [weight, lanes])], { perm: ints([0, 3, 1, 2, 4]) });
  const bytes = b.node('Mul', [steps, b.ints([4 * bits])]);
  return b.node('Reshape', [words, b.node('Concat', [b.ints([-1]), bytes], { axis: int(0) })]);
}
