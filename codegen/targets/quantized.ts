import type { Node, Value } from '../../ir/graph.ts';
import { FakeQuantize } from '../../ir/ops/qc.ts';
import { latest } from '../../ir/latest.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { eachRow } from '../../ir/quant.ts';
import { floats, integers, lazy, type Tensor } from '../../ir/tensor.ts';

/** A weight W [in, out] and its quantizer, read off a FakeQuantize of a constant. */
export interface QuantizedWeight {
  readonly node: Node;
  readonly rows: number;
  readonly columns: number;
  /** Rows in each group, in order. */
  readonly sizes: readonly number[];
  readonly qmin: number;
  readonly qmax: number;
  /** [groups, out]. */
  readonly scale: Tensor;
  /** [groups, out]; integers in f32. */
  readonly zero: Tensor;
  /** i8 [in, out], computed when its bytes are read. */
  readonly codes: Tensor;
}

/** Offsets, packing and checks read the codes of a weight one after another. */
const kept = latest();

/** The quantized weight that a value is, or null. */
export function quantizedWeight(v: Value | null): QuantizedWeight | null {
  const fake = viewAs(FakeQuantize, v?.producer ?? null);
  const w = fake?.x.constant;
  const [scale, zero, index] = [fake?.scale.constant, fake?.zero.constant, fake?.index.constant];
  if (!fake || !w || !scale || !zero || !index || w.shape.length !== 2) return null;
  const [rows, columns] = w.shape as [number, number];
  const groups = integers(index);
  const quantizer = { sizes: runs(groups), columns, qmin: fake.qmin, qmax: fake.qmax };
  const codes = lazy(
    'i8',
    w.shape,
    kept(() => codesOf(floats(w), floats(scale), floats(zero), quantizer)),
  );
  return { node: fake.node, rows, ...quantizer, scale, zero, codes };
}

/** The lengths of the runs of equal numbers. */
export function runs(groups: readonly number[]): readonly number[] {
  const sizes: number[] = [];
  groups.forEach((g, i) => {
    if (i > 0 && groups[i - 1] === g) sizes[sizes.length - 1]!++;
    else sizes.push(1);
  });
  return sizes;
}

/**
 * clip(round(w / scale) + zero), scale and zero being those of the row's group and the column.
 *
 * The sum of x and 1.5 * 2^23 in f32 has no room for fractions, so it is x rounded half to even, and its bits, less those of 1.5 * 2^23, are
 * that whole number; for x beyond 2^22 they are far from zero on the side of x.
 */
function codesOf(
  w: Float32Array,
  scale: Float32Array,
  zero: Float32Array,
  { sizes, columns, qmin, qmax }: Pick<QuantizedWeight, 'sizes' | 'columns' | 'qmin' | 'qmax'>,
): Int8Array {
  const codes = new Int8Array(w.length);
  const rounded = new Float32Array(columns);
  const bits = new Int32Array(rounded.buffer);
  const offset = new Int32Array(zero.length);
  for (let p = 0; p < zero.length; p++) offset[p] = zero[p]! - 0x4b400000;
  eachRow(sizes, columns, (row, group) => {
    divide(rounded, w, scale, row, group);
    clip(codes, bits, offset, row, group, qmin, qmax);
  });
  return codes;
}

/** w / scale in f32, as QuantizeLinear and the reference body divide, and 1.5 * 2^23 more. */
function divide(rounded: Float32Array, w: Float32Array, scale: Float32Array, row: number, group: number): void {
  for (let c = 0; c < rounded.length; c++) rounded[c] = Math.fround(w[row + c]! / scale[group + c]!) + 12582912;
}

function clip(codes: Int8Array, bits: Int32Array, offset: Int32Array, row: number, group: number, qmin: number, qmax: number): void {
  for (let c = 0; c < bits.length; c++) {
    const code = bits[c]! + offset[group + c]!;
    codes[row + c] = code < qmin ? qmin : code > qmax ? qmax : code;
  }
}

/** (code - zero) * scale: what the codes stand for. */
export const dequantized = (w: QuantizedWeight): Tensor =>
  lazy('f32', [w.rows, w.columns], () => {
    const [codes, scale, zero] = [signed(w.codes), floats(w.scale), floats(w.zero)];
    const data = new Float32Array(codes.length);
    eachRow(w.sizes, w.columns, (row, group) => dequantizeRow(data, codes, scale, zero, row, group, w.columns));
    return data;
  });

function dequantizeRow(
  data: Float32Array,
  codes: Int8Array,
  scale: Float32Array,
  zero: Float32Array,
  row: number,
  group: number,
  columns: number,
): void {
  for (let c = 0; c < columns; c++) data[row + c] = (codes[row + c]! - zero[group + c]!) * scale[group + c]!;
}

/** offset Q(W): what a constant offset of the input adds to every row of the product. */
export const offsetProduct = (offset: Float32Array, w: QuantizedWeight): Tensor =>
  lazy('f32', [w.columns], () => {
    const [codes, scale, zero] = [signed(w.codes), floats(w.scale), floats(w.zero)];
    const sums = new Float64Array(w.columns);
    eachRow(w.sizes, w.columns, (row, group) => addProduct(sums, offset[row / w.columns]!, codes, scale, zero, row, group));
    return Float32Array.from(sums);
  });

function addProduct(
  sums: Float64Array,
  factor: number,
  codes: Int8Array,
  scale: Float32Array,
  zero: Float32Array,
  row: number,
  group: number,
): void {
  for (let c = 0; c < sums.length; c++) sums[c]! += factor * (codes[row + c]! - zero[group + c]!) * scale[group + c]!;
}

/** The elements of an i8 tensor. */
export function signed(codes: Tensor): Int8Array {
  const bytes = codes.bytes();
  return new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Two signed 4-bit codes in a byte, the first in the low half: the ONNX layout of int4. */
export const packedInt4 = (codes: Tensor): Tensor =>
  lazy('i4', codes.shape, () => {
    const from = codes.bytes();
    const packed = new Uint8Array(Math.ceil(from.length / 2));
    for (let i = 0; i < packed.length; i++) packed[i] = (from[2 * i]! & 15) | ((from[2 * i + 1]! & 15) << 4);
    return packed;
  });

/** Signed bytes as unsigned ones, 128 more. */
export const unsignedBytes = (codes: Tensor): Tensor =>
  lazy('u8', codes.shape, () => {
    const from = codes.bytes();
    const to = new Uint8Array(from.length);
    for (let i = 0; i < to.length; i++) to[i] = from[i]! ^ 128;
    return to;
  });
