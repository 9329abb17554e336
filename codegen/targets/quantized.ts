import type { Node, Value } from '../../ir/graph.ts';
import { FakeQuantize } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { roundHalfEven } from '../../ir/quant.ts';
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
  /** i8 [in, out], computed when asked. */
  readonly codes: Tensor;
}

/** The quantized weight that a value is, or null. */
export function quantizedWeight(v: Value | null): QuantizedWeight | null {
  const fake = viewAs(FakeQuantize, v?.producer ?? null);
  const w = fake?.x.constant;
  const [scale, zero, index] = [fake?.scale.constant, fake?.zero.constant, fake?.index.constant];
  if (!fake || !w || !scale || !zero || !index || w.shape.length !== 2) return null;
  const [rows, columns] = w.shape as [number, number];
  const groups = integers(index);
  const codes = lazy('i8', w.shape, () => codesOf(floats(w), columns, groups, floats(scale), floats(zero), fake.qmin, fake.qmax));
  return { node: fake.node, rows, columns, sizes: runs(groups), qmin: fake.qmin, qmax: fake.qmax, scale, zero, codes };
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

/** clip(round(w / scale) + zero), scale and zero being those of the row's group and the column. */
function codesOf(
  w: Float32Array,
  columns: number,
  groups: readonly number[],
  scale: Float32Array,
  zero: Float32Array,
  qmin: number,
  qmax: number,
): Int8Array {
  const codes = new Int8Array(w.length);
  groups.forEach((g, row) => {
    for (let c = 0; c < columns; c++) {
      const [at, p] = [row * columns + c, g * columns + c];
      // In f32, as QuantizeLinear and the reference body divide.
      codes[at] = Math.min(Math.max(roundHalfEven(Math.fround(w[at]! / scale[p]!)) + zero[p]!, qmin), qmax);
    }
  });
  return codes;
}

/** The codes of a weight row by row; `f` gets code - zero, the scale, and the place of both. */
function eachCode(w: QuantizedWeight, f: (centred: number, scale: number, row: number, column: number) => void): void {
  const codes = w.codes.bytes();
  const [scale, zero] = [floats(w.scale), floats(w.zero)];
  let row = 0;
  w.sizes.forEach((size, g) => {
    for (const end = row + size; row < end; row++) {
      for (let c = 0; c < w.columns; c++) {
        const [code, p] = [(codes[row * w.columns + c]! << 24) >> 24, g * w.columns + c];
        f(code - zero[p]!, scale[p]!, row, c);
      }
    }
  });
}

/** (code - zero) * scale: what the codes stand for. */
export const dequantized = (w: QuantizedWeight): Tensor =>
  lazy('f32', [w.rows, w.columns], () => {
    const data = new Float32Array(w.rows * w.columns);
    eachCode(w, (centred, scale, row, column) => (data[row * w.columns + column] = centred * scale));
    return data;
  });

/** offset Q(W): what a constant offset of the input adds to every row of the product. */
export const offsetProduct = (offset: Float32Array, w: QuantizedWeight): Tensor =>
  lazy('f32', [w.columns], () => {
    const sum = new Float64Array(w.columns);
    eachCode(w, (centred, scale, row, column) => (sum[column]! += offset[row]! * centred * scale));
    return Float32Array.from(sum);
  });

/** Two signed 4-bit codes in a byte, the first in the low half: the ONNX layout of int4. */
export const packedInt4 = (codes: Tensor): Tensor =>
  lazy('i4', codes.shape, () => {
    const from = codes.bytes();
    return Uint8Array.from({ length: Math.ceil(from.length / 2) }, (_, i) => (from[2 * i]! & 15) | (((from[2 * i + 1] ?? 0) & 15) << 4));
  });

/** Signed bytes as unsigned ones, 128 more. */
export const unsignedBytes = (codes: Tensor): Tensor => lazy('u8', codes.shape, () => codes.bytes().map((c) => c ^ 128));
