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
export function packWeight(codes: Uint8Array, rows: number, columns: number, bits: StoredBits): Uint8Array {
  const [tiles = 0, steps = 0] = packedShape(rows, columns, bits);
  const packed = new Uint32Array(tiles * steps * bits * tile);
  const layout = Array.from({ length: step / 4 }, (_, q) => places[bits](q));
  const lift = 2 ** (bits - 1);
  const quads = new Uint32Array((step / 4) * columns);
  for (let s = 0; s < steps; s++) {
    readStep(quads, codes, s * step, rows, columns, lift);
    // All of a tile at once: its words lie together, those of the next tile far away.
    for (let t = 0; t < tiles; t++) {
      const lanes = Math.min(tile, columns - t * tile);
      const start = (t * steps + s) * bits * tile;
      for (let q = 0; q < layout.length; q++)
        for (const place of layout[q]!) placeLanes(packed, start + place.word * tile, quads, q * columns + t * tile, lanes, place);
    }
  }
  return new Uint8Array(packed.buffer);
}

/** Stored codes of a step of rows from `first` on: byte j of word (q, column) is row 4q + j. Rows that are not there are stored zeros. */
function readStep(quads: Uint32Array, codes: Uint8Array, first: number, rows: number, columns: number, lift: number): void {
  quads.fill(0);
  for (let k = 0; k < step && first + k < rows; k++) {
    const [to, from, shift] = [(k >> 2) * columns, (first + k) * columns, (k & 3) * 8];
    for (let c = 0; c < columns; c++) quads[to + c]! |= ((codes[from + c]! + lift) & 255) << shift;
  }
}

/** Puts the bits of a quad that `place` names into the words of a tile. */
function placeLanes(
  packed: Uint32Array,
  to: number,
  quads: Uint32Array,
  from: number,
  lanes: number,
  { shift, mask, from: bit }: Place,
): void {
  for (let lane = 0; lane < lanes; lane++) packed[to + lane]! |= ((quads[from + lane]! >>> bit) & mask) << shift;
}
