import { room, rows as simd } from '../../ir/simd/rows.ts';
import { step, tile } from './operators.ts';

/** Bits of a stored code. */
export type StoredBits = 3 | 4 | 8;

/** The fewest bits that hold codes from qmin to qmax; null if 8 are too few. */
export function storedBits(qmin: number, qmax: number): StoredBits | null {
  return ([3, 4, 8] as const).find((bits) => qmin >= -(2 ** (bits - 1)) && qmax <= 2 ** (bits - 1) - 1) ?? null;
}

const stepsOf = (channels: number): number => Math.ceil(channels / step);

/** Bytes of a row of codes. */
export const bytesOf = (channels: number, bits: StoredBits): number => stepsOf(channels) * 4 * bits;

/** The shape of the packed weight of `rows` input and `columns` output channels. */
export const packedShape = (rows: number, columns: number, bits: StoredBits): readonly number[] => [
  Math.ceil(columns / tile),
  stepsOf(rows),
  bits,
  4 * tile,
];

/** Four rows of codes, and a place for what they are together. */
interface Quad {
  readonly a: Int8Array;
  readonly b: Int8Array;
  readonly c: Int8Array;
  readonly d: Int8Array;
  readonly quad: Uint32Array;
}

/** Where a quad of channels goes: its bits from `from` on, under `mask` in each byte, to `word`, shifted left. */
interface Place {
  readonly word: number;
  readonly shift: number;
  readonly mask: number;
  readonly from: number;
}

// Channel k of a step is byte k % 4 of quad k / 4. In 3 bits a quad has a second place, for the third bit of its codes.
const places: Readonly<Record<StoredBits, (quad: number) => readonly Place[]>> = {
  8: (q) => [{ word: q, shift: 0, mask: 0xffffffff, from: 0 }],
  4: (q) => [{ word: q >> 1, shift: (q & 1) * 4, mask: 0x0f0f0f0f, from: 0 }],
  3: (q) => [
    { word: q >> 2, shift: (q & 3) * 2, mask: 0x03030303, from: 0 },
    { word: 2, shift: q, mask: 0x01010101, from: 2 },
  ],
};

/** Codes of W [in, out], signed, in the layout that kernels read as it lies: see "Packing" in docs/operators.md. */
export function packWeight(codes: Int8Array, rows: number, columns: number, bits: StoredBits): Uint8Array {
  const [tiles = 0, steps = 0] = packedShape(rows, columns, bits);
  const packed = new Uint32Array(tiles * steps * bits * tile);
  const layout = Array.from({ length: step / 4 }, (_, q) => places[bits](q));
  const size = bits * tile;
  const lanes = tiles * tile;
  const of = room({
    a: ['i8', lanes],
    b: ['i8', lanes],
    c: ['i8', lanes],
    d: ['i8', lanes],
    quad: ['u32', lanes],
    words: ['u32', tiles * size],
  });
  for (let s = 0; s < steps; s++) {
    of.words.fill(0);
    layout.forEach((quad, q) => {
      readQuad(of, codes, s * step + 4 * q, rows, columns, 2 ** (bits - 1));
      for (const { word, from, mask, shift } of quad)
        simd.place(of.words.byteOffset + 4 * word * tile, of.quad.byteOffset, tiles, size, from, mask, shift);
    });
    for (let t = 0; t < tiles; t++) packed.set(of.words.subarray(t * size, (t + 1) * size), (t * steps + s) * size);
  }
  return new Uint8Array(packed.buffer);
}

/** Stored codes of four rows from `first` on: byte j of a word is row first + j. Rows and columns that are not there are stored zeros. */
function readQuad(quad: Quad, codes: Int8Array, first: number, rows: number, columns: number, lift: number): void {
  [quad.a, quad.b, quad.c, quad.d].forEach((row, j) => {
    row.fill(-lift);
    if (first + j < rows) row.set(codes.subarray((first + j) * columns, (first + j + 1) * columns));
  });
  const { a, b, c, d } = quad;
  simd.quads(quad.quad.byteOffset, a.byteOffset, b.byteOffset, c.byteOffset, d.byteOffset, a.length, lift);
}
