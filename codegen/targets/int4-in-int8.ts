import { int } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import { eachGroup } from '../../ir/quant.ts';
import { floats, inMemory, int64s, lazy } from '../../ir/tensor.ts';
import { tensorType } from '../../ir/types.ts';
import { packedInt4, signed, type QuantizedWeight } from './quantized.ts';

/** A multiple of 4-bit codes that 8 bits can hold is at most this. */
const mostMultiple = 16;

interface Multiples {
  /** [out]. */
  readonly unit: Float32Array;
  /** [groups, out]. */
  readonly multiple: Int8Array;
}

/** Scales as whole multiples of one unit for each column, if they are such and (code - zero) * multiple fits 8 bits; else null. */
function multiplesOf(w: QuantizedWeight): Multiples | null {
  const scale = floats(w.scale);
  const groups = w.sizes.length;
  const unit = new Float32Array(w.columns);
  const multiple = new Int8Array(scale.length);
  for (let c = 0; c < w.columns; c++) {
    const column = Array.from({ length: groups }, (_, g) => scale[g * w.columns + c]!);
    const found = commonUnit(column);
    if (found === null) return null;
    unit[c] = found;
    column.forEach((s, g) => (multiple[g * w.columns + c] = Math.round(s / found)));
  }
  return fitsBytes(w, multiple) ? { unit, multiple } : null;
}

/** The largest number that all scales are whole multiples of, the multiples being small. */
function commonUnit(scales: readonly number[]): number | null {
  const least = Math.min(...scales);
  for (let k = 1; k <= mostMultiple; k++) {
    const unit = least / k;
    if (Math.fround(unit) === unit && scales.every((s) => Number.isInteger(s / unit) && s / unit <= mostMultiple)) return unit;
  }
  return null;
}

function fitsBytes(w: QuantizedWeight, multiple: Int8Array): boolean {
  const codes = signed(w.codes);
  const zero = floats(w.zero);
  let most = zero.reduce((least, z) => Math.max(least, Math.abs(z)), 0);
  eachGroup(w.sizes, w.columns, (group, first, end) => {
    for (let row = first; row < end; row += w.columns) most = Math.max(most, largestProduct(codes, zero, multiple, row, group, w.columns));
  });
  return most <= 127;
}

/** The largest |(code - zero) * multiple| of a row. */
function largestProduct(codes: Int8Array, zero: Float32Array, multiple: Int8Array, row: number, group: number, columns: number): number {
  let most = 0;
  for (let c = 0; c < columns; c++) {
    const product = Math.abs((codes[row + c]! - zero[group + c]!) * multiple[group + c]!);
    if (product > most) most = product;
  }
  return most;
}

/**
 * Zero points of signed bytes that are zero. They are written out, because ONNX Runtime (1.30, 1.32) adds a zero point of its own when
 * `session.x64quantprecision` has it turn signed weights into unsigned ones, and adds a single one where there is a scale for each column.
 */
const zeroPoints = (build: Builder, columns: number): Value =>
  build.constant('zero_point', inMemory('i8', [columns], new Int8Array(columns)));

/**
 * A 4-bit weight that is stored in 4 bits and multiplied in 8: (code - zero) * multiple is a whole number of 8 bits, so int8
 * with one scale for each column carries it exactly. ONNX Runtime computes it once, when it loads the model, and then fuses
 * the product as for any int8 weight. False when the scales do not allow it.
 */
export function lowerInt4InInt8(graph: Graph, w: QuantizedWeight): boolean {
  const found = w.qmin >= -8 && w.qmax <= 7 ? multiplesOf(w) : null;
  if (!found) return false;
  const build = Builder.before(w.node, w.node.output.name);
  const type = tensorType('f32', [w.rows, w.columns]);
  const shape = [w.sizes.length, w.columns];
  const group = build.constant(
    'group',
    int64s(
      [w.rows],
      w.sizes.flatMap((n, g) => Array.from({ length: n }, () => g)),
    ),
  );
  const rows = (suffix: string, data: () => Int8Array) => {
    const table = build.constant(suffix, lazy('i8', shape, data));
    return build.value('Cast', [build.value('Gather', [table, group], { axis: int(0) })], { to: int(1) }, type);
  };
  const codes = build.value('Cast', [build.constant('codes', packedInt4(w.codes))], { to: int(1) }, type);
  const centred = build.value('Sub', [codes, rows('zero', () => Int8Array.from(floats(w.zero)))], {}, type);
  const whole = build.value('Mul', [centred, rows('multiple', () => found.multiple)], {}, type);
  const product = build.value('Cast', [whole], { to: int(3) }, tensorType('i8', [w.rows, w.columns]));
  const unit = build.constant('scale', inMemory('f32', [w.columns], found.unit));
  graph.replace(w.node.output, build.value('DequantizeLinear', [product, unit, zeroPoints(build, w.columns)], { axis: int(1) }, type));
  graph.erase(w.node);
  return true;
}
