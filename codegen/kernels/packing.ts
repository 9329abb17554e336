import { step, tile } from './operators.ts';

/** Bits of a stored code. */
export type StoredBits = 3 | 4 | 8;

/** The fewest bits that hold codes from qmin to qmax; null if 8 are too few. */
export function storedBits(qmin: number, qmax: number): StoredBits | null {
  return ([3, 4, 8] as const).find((bits) => qmin >= -(2 ** (bits - 1)) && qmax <= 2 ** (bits - 1) - 1) ?? null;
}

export const stepsOf = (channels: number): number => Math.ceil(channels / step);

/** Bytes of a row of codes. */
export const bytesOf = (channels: number, bits: StoredBits): number => stepsOf(channels) * 4 * bits;

/** The shape of the packed weight of `rows` input and `columns` output channels. */
export const packedShape = (rows: number, columns: number, bits: StoredBits): readonly number[] => [
  Math.ceil(columns / tile),
  stepsOf(rows),
  bits,
  4 * tile,
];

/** Where a code of a step goes: byte `word * 4 + byte`, shifted left; the 3-bit layout has a second place, for its third bit. */
type Place = (
  channel: number,
) => readonly { readonly word: number; readonly shift: number; readonly mask: number; readonly from: number }[];

// Channel k of a step is byte k % 4 of quad k / 4.
const places: Readonly<Record<StoredBits, Place>> = {
  8: (k) => [{ word: k >> 2, shift: 0, mask: 255, from: 0 }],
  4: (k) => [{ word: k >> 3, shift: ((k >> 2) & 1) * 4, mask: 15, from: 0 }],
  3: (k) => [
    { word: k >> 4, shift: ((k >> 2) & 3) * 2, mask: 3, from: 0 },
    { word: 2, shift: k >> 2, mask: 1, from: 2 },
  ],
};

/** Codes of W [in, out], signed, in the layout that kernels read as it lies: see "Packing" in docs/operators.md. */
export function packWeight(codes: Uint8Array, rows: number, columns: number, bits: StoredBits): Uint8Array {
  const [tiles = 0, steps = 0] = packedShape(rows, columns, bits);
  const packed = new Uint8Array(tiles * steps * bits * 4 * tile);
  const lift = 2 ** (bits - 1);
  const layout = Array.from({ length: step }, (_, k) => places[bits](k));
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const stored = (((codes[row * columns + column]! << 24) >> 24) + lift) & 255;
      const [t, lane] = [Math.floor(column / tile), column % tile];
      for (const { word, shift, mask, from } of layout[row % step]!) {
        const line = (t * steps + Math.floor(row / step)) * bits + word;
        packed[line * 4 * tile + lane * 4 + (row & 3)]! |= ((stored >> from) & mask) << shift;
      }
    }
  }
  return packed;
}
