import type { Node, Value } from '../../ir/graph.ts';
import { FakeQuantize } from '../../ir/ops/qc.ts';
import { latest } from '../../ir/latest.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { eachGroup } from '../../ir/quant.ts';
import { room, rows } from '../../ir/simd/rows.ts';
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

/** clip(round(w / scale) + zero), scale and zero being those of the row's group and the column; w / scale in f32, as QuantizeLinear divides. */
function codesOf(
  w: Float32Array,
  scale: Float32Array,
  zero: Float32Array,
  { sizes, columns, qmin, qmax }: Pick<QuantizedWeight, 'sizes' | 'columns' | 'qmin' | 'qmax'>,
): Int8Array {
  const codes = new Int8Array(w.length);
  const of = room({ row: ['f32', columns], scale: ['f32', columns], zero: ['f32', columns], code: ['i8', columns] });
  const [row, scales, zeros, code] = [of.row.byteOffset, of.scale.byteOffset, of.zero.byteOffset, of.code.byteOffset];
  eachGroup(sizes, columns, (group, first, end) => {
    of.scale.set(scale.subarray(group, group + columns));
    of.zero.set(zero.subarray(group, group + columns));
    for (let at = first; at < end; at += columns) {
      of.row.set(w.subarray(at, at + columns));
      rows.codes(code, row, scales, zeros, columns, qmin, qmax);
      codes.set(of.code, at);
    }
  });
  return codes;
}

/** (code - zero) * scale: what the codes stand for. */
export const dequantized = (w: QuantizedWeight): Tensor =>
  lazy('f32', [w.rows, w.columns], () => {
    const data = new Float32Array(w.rows * w.columns);
    eachCodeRow(w, ({ row, code, scale, zero }, at) => {
      rows.dequantize(row.byteOffset, code.byteOffset, scale.byteOffset, zero.byteOffset, w.columns);
      data.set(row, at);
    });
    return data;
  });

/** offset Q(W): what a constant offset of the input adds to every row of the product. */
export const offsetProduct = (offset: Float32Array, w: QuantizedWeight): Tensor =>
  lazy('f32', [w.columns], () => {
    const sums = eachCodeRow(w, ({ sum, code, scale, zero }, at) =>
      rows.addProduct(sum.byteOffset, offset[at / w.columns]!, code.byteOffset, scale.byteOffset, zero.byteOffset, w.columns),
    );
    return Float32Array.from(sums);
  });

/** A row of codes, the scales and zero points of its group, and places for results. */
interface CodeRow {
  readonly code: Int8Array;
  readonly scale: Float32Array;
  readonly zero: Float32Array;
  readonly row: Float32Array;
  readonly sum: Float64Array;
}

/** Calls `f` for every row of codes with the place where it begins in the matrix, and returns the place for sums, which is zero before. */
function eachCodeRow(w: QuantizedWeight, f: (of: CodeRow, at: number) => void): Float64Array {
  const { columns } = w;
  const [codes, scale, zero] = [signed(w.codes), floats(w.scale), floats(w.zero)];
  const of = room({ code: ['i8', columns], scale: ['f32', columns], zero: ['f32', columns], row: ['f32', columns], sum: ['f64', columns] });
  eachGroup(w.sizes, columns, (group, first, end) => {
    of.scale.set(scale.subarray(group, group + columns));
    of.zero.set(zero.subarray(group, group + columns));
    for (let at = first; at < end; at += columns) {
      of.code.set(codes.subarray(at, at + columns));
      f(of, at);
    }
  });
  return of.sum;
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
