import { int } from '../../../ir/attributes.ts';
import type { BodyWriter } from '../../onnx/body-writer.ts';
import { cast, clipped, packed, unpacked } from './codes.ts';

/** Clusters as a body sees them. */
export interface Clusters {
  /** The number of the cluster of every channel, i64 [C]. */
  readonly index: string;
  /** C, i64 [1]. */
  readonly channels: string;
}

/** Clusters by the sizes that an attribute gives: channel k lies in as many clusters before it as have ended by k. */
export function clusters(b: BodyWriter, attribute = 'groups'): Clusters {
  const sizes = b.attribute(attribute, 'ints');
  const channels = b.node('ReduceSum', [sizes], { keepdims: int(1) });
  const ends = b.node('CumSum', [sizes, b.int(0)]);
  const places = b.node('Range', [b.int(0), b.node('Squeeze', [channels]), b.int(1)]);
  const ended = b.node('GreaterOrEqual', [b.node('Unsqueeze', [places, b.ints([1])]), ends]);
  return { index: b.node('ReduceSum', [cast(b, ended, 'i64'), b.ints([1])], { keepdims: int(0) }), channels };
}

/** All axes but the last as one. */
export const rows = (b: BodyWriter, x: string): string => b.node('Flatten', [x], { axis: int(-1) });

/** As `rows` for a value of so many channels (i64 [1]): what shape inference gets wrong further up does no harm here. */
export const rowsOf = (b: BodyWriter, x: string, channels: string): string =>
  b.node('Reshape', [x, b.node('Concat', [b.ints([-1]), channels], { axis: int(0) })]);

/** Rows with the leading axes of `like` again. */
export function unrows(b: BodyWriter, x: string, like: string, as?: string): string {
  const shape = b.node('Concat', [b.node('Shape', [like], { end: int(-1) }), b.ints([-1])], { axis: int(0) });
  return b.node('Reshape', [x, shape], {}, as);
}

export const perChannel = (b: BodyWriter, table: string, { index }: Clusters): string => b.node('Gather', [table, index], { axis: int(0) });

const lift = (b: BodyWriter, bits: number): string => cast(b, b.int(2 ** (bits - 1)), 'f32');

/** Signed codes as f32 [R, C]. */
export const codes = (b: BodyWriter, stored: string, bits: number, channels: string): string =>
  b.node('Sub', [cast(b, clipped(b, unpacked(b, stored, bits), channels), 'f32'), lift(b, bits)]);

export interface Bounds {
  readonly bits: number;
  /** Names of the attributes with the least and the greatest code. */
  readonly qmin: string;
  readonly qmax: string;
}

/** clip(round(x / scale) + zero, qmin, qmax) of f32 rows, packed; NaN counts as 0. */
export function quantized(b: BodyWriter, x: string, scale: string, zero: string | null, { bits, qmin, qmax }: Bounds): string {
  const number = b.node('Where', [b.node('IsNaN', [x]), cast(b, b.int(0), 'f32'), x]);
  const whole = b.node('Round', [b.node('Div', [number, scale])]);
  const placed = zero === null ? whole : b.node('Add', [whole, zero]);
  const bounds = [qmin, qmax].map((name) => cast(b, b.attribute(name, 'int'), 'f32'));
  const code = b.node('Clip', [placed, ...bounds]);
  return packed(b, cast(b, b.node('Add', [code, lift(b, bits)]), 'i32'), bits);
}
