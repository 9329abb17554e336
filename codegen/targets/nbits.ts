import { int } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import type { Graph, Node, Value } from '../../ir/graph.ts';
import { DynamicQuantize } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { floats, lazy, type Tensor } from '../../ir/tensor.ts';
import { transposeInto } from '../../ir/transpose.ts';
import { biasOf } from './bias.ts';
import type { QuantizedWeight } from './quantized.ts';

/** Block sizes that com.microsoft.MatMulNBits takes. */
const blockSizes = [16, 32, 64, 128, 256];

/** Why MatMulNBits cannot take a weight; null when it can. */
export function weightRefusal(w: QuantizedWeight): string | null {
  if (bitsOf(w) === null) return `MatMulNBits has no codes from ${w.qmin} to ${w.qmax}`;
  if (!zerosFit(w, bitsOf(w)!)) return 'a zero point of its weight is no code';
  const block = blockOf(w);
  const even = blockSizes.includes(block) && w.sizes.every((n, g) => n === block || (n < block && g === w.sizes.length - 1));
  return even ? null : 'its row groups are not blocks of 16 to 256';
}

/** Why a product cannot become MatMulNBits; null when it can. */
export function nbitsRefusal(node: Node, w: QuantizedWeight): string | null {
  const refused = weightRefusal(w);
  if (refused !== null) return refused;
  const block = blockOf(w);
  const input = viewAs(DynamicQuantize, node.input(0)?.producer ?? null);
  if (node.input(0)?.producer?.op === 'qc.FakeQuantize') return 'its input has static scales';
  if (input && (input.block !== block || !input.symmetric || input.qmax !== 127))
    return 'MatMulNBits quantizes its input at 8 bits in blocks of its own';
  return null;
}

/**
 * The same weight with its row groups cut into equal blocks of at most 128 rows, which share scales and zero points; as it is where no
 * block size divides them. ONNX Runtime's fast CUDA kernels have no larger blocks.
 */
export function inBlocks(w: QuantizedWeight): QuantizedWeight {
  const block = blockSizes.findLast((b) => b <= Math.min(w.sizes[0]!, 128) && w.sizes.slice(0, -1).every((n) => n % b === 0));
  if (block === undefined) return w;
  const parts = w.sizes.map((n) => Math.ceil(n / block));
  const sizes = w.sizes.flatMap((n, g) => Array.from({ length: parts[g]! }, (_, i) => Math.min(block, n - i * block)));
  const groups = parts.flatMap((count, g) => Array.from({ length: count }, () => g));
  const repeated = (t: Tensor): Tensor =>
    lazy('f32', [sizes.length, w.columns], () => {
      const [from, to] = [floats(t), new Float32Array(sizes.length * w.columns)];
      groups.forEach((g, i) => to.set(from.subarray(g * w.columns, (g + 1) * w.columns), i * w.columns));
      return to;
    });
  return { ...w, sizes, scale: repeated(w.scale), zero: repeated(w.zero) };
}

export interface NbitsCall {
  readonly weight: QuantizedWeight;
  readonly x: Value;
  /** Have the operator quantize x itself: 8 bits, symmetric, one scale for each token and block. */
  readonly quantizes: boolean;
  /** Have the operator add the bias that follows. */
  readonly biased: boolean;
}

/**
 * x Q(W) + b as com.microsoft.MatMulNBits.
 * @see https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulNBits
 */
export function lowerToNbits(graph: Graph, node: Node, { weight: w, x, quantizes, biased }: NbitsCall): string {
  const [bits, block] = [bitsOf(w)!, blockOf(w)];
  const build = Builder.before(node, node.output.name);
  const bias = biased ? biasOf(node, w.columns) : null;
  const result = bias?.node.output ?? node.output;
  const zeros = w.qmin === -w.qmax ? null : build.constant('zero_points', packedZeros(w, bits));
  const operands = [
    x,
    build.constant('weight', packedCodes(w, bits, block)),
    build.constant(
      'scales',
      lazy('f32', [w.columns * w.sizes.length], () => turned(floats(w.scale), w.sizes.length, w.columns)),
    ),
    zeros,
    null,
    bias?.b ?? null,
  ];
  const last = operands.findLastIndex((v) => v !== null) + 1;
  const attributes = { K: int(w.rows), N: int(w.columns), bits: int(bits), block_size: int(block), accuracy_level: int(quantizes ? 4 : 0) };
  const made = build.value('com.microsoft.MatMulNBits', operands.slice(0, last), attributes, result.type);
  graph.replace(result, made);
  if (bias) graph.erase(bias.node);
  graph.erase(node);
  return `MatMulNBits, ${bits} bits in blocks of ${block}${quantizes ? ', 8-bit input' : ''}`;
}

const blockOf = (w: QuantizedWeight): number => w.sizes[0]!;
const bitsOf = (w: QuantizedWeight): 4 | 8 | null => (w.qmin >= -8 && w.qmax <= 7 ? 4 : w.qmin >= -128 && w.qmax <= 127 ? 8 : null);

/** RPTQ's zero points are not bounded by their codes; packing one of those would wrap it. */
const zerosFit = (w: QuantizedWeight, bits: 4 | 8): boolean =>
  w.qmin === -w.qmax || floats(w.zero).every((z) => z >= -(2 ** (bits - 1)) && z < 2 ** (bits - 1));

/** [groups, out] as [out, groups]. */
function turned(data: Float32Array, groups: number, columns: number): Float32Array {
  const to = new Float32Array(data.length);
  transposeInto(wordsOf(to), wordsOf(data), groups, columns);
  return to;
}

const wordsOf = (v: Float32Array): Uint32Array => new Uint32Array(v.buffer, v.byteOffset, v.length);

/** Codes as unsigned, [out, blocks, block * bits / 8], low bits first; a short last block is padded with the code of zero. */
function packedCodes(w: QuantizedWeight, bits: 4 | 8, block: number): Tensor {
  const blocks = w.sizes.length;
  const lift = 2 ** (bits - 1);
  return lazy('u8', [w.columns, blocks, (block * bits) / 8], () => {
    const byColumn = new Uint8Array(w.columns * w.rows);
    transposeInto(byColumn, w.codes.bytes(), w.rows, w.columns);
    const length = (blocks * block * bits) / 8;
    const packed = new Uint8Array(w.columns * length).fill(bits === 4 ? lift | (lift << 4) : lift);
    for (let c = 0; c < w.columns; c++) {
      const [from, to] = [c * w.rows, c * length];
      if (bits === 8) for (let row = 0; row < w.rows; row++) packed[to + row] = byColumn[from + row]! + lift;
      else packNibbles(packed, to, byColumn, from, w.rows);
    }
    return packed;
  });
}

/** Signed 4-bit codes, 8 more, two in a byte and the first in the low half; what is left of a last byte is the code of zero. */
function packNibbles(packed: Uint8Array, to: number, codes: Uint8Array, from: number, count: number): void {
  for (let i = 0; i < count >> 1; i++) packed[to + i] = ((codes[from + 2 * i]! & 15) | ((codes[from + 2 * i + 1]! & 15) << 4)) ^ 0x88;
  if (count % 2 === 1) packed[to + (count >> 1)] = ((codes[from + count - 1]! + 8) & 15) | 0x80;
}

/** Zero points as unsigned, [out, ceil(blocks * bits / 8)]. */
function packedZeros(w: QuantizedWeight, bits: 4 | 8): Tensor {
  const blocks = w.sizes.length;
  const row = Math.ceil((blocks * bits) / 8);
  const lift = 2 ** (bits - 1);
  return lazy('u8', [w.columns * row], () => {
    const zeros = turned(floats(w.zero), blocks, w.columns);
    const packed = new Uint8Array(w.columns * row);
    zeros.forEach((z, i) => {
      const [c, g] = [Math.floor(i / blocks), i % blocks];
      packed[c * row + Math.floor((g * bits) / 8)]! |= (z + lift) << ((g * bits) % 8);
    });
    return packed;
  });
}
