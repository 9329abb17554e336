import { fail } from '../../ir/diagnostics.ts';
import type { Tensor } from '../../ir/tensor.ts';
import { tagBytes } from './wire.ts';

/** A part of an encoded message: bytes, or a constant whose bytes are produced when they are written. */
export type Piece = Uint8Array | { readonly tensor: Tensor; readonly length: number };

/** Bytes that pieces take. */
export const lengthOf = (pieces: readonly Piece[]): number => pieces.reduce((n, p) => n + p.length, 0);

/** The pieces of a length-delimited field. */
export const field = (number: number, content: readonly Piece[]): Piece[] => [tagBytes(number, lengthOf(content)), ...content];

/** The bytes of a piece; QC1601 if a constant has other than the promised number. */
function bytesOfPiece(piece: Piece): Uint8Array {
  if (piece instanceof Uint8Array) return piece;
  const bytes = piece.tensor.bytes();
  return bytes.length === piece.length ? bytes : fail('QC1601', `a constant of ${piece.length} bytes gave ${bytes.length}`);
}

/** The bytes of a piece in parts that need not be together in memory. */
export function partsOfPiece(piece: Piece, size: number): Iterable<Uint8Array> {
  const inParts = !(piece instanceof Uint8Array) && piece.length > size ? piece.tensor.chunks : undefined;
  return inParts ? inParts(size) : [bytesOfPiece(piece)];
}

/** All pieces in one array. */
export function joined(pieces: readonly Piece[]): Uint8Array {
  const bytes = new Uint8Array(lengthOf(pieces));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(bytesOfPiece(piece), at);
    at += piece.length;
  }
  return bytes;
}
