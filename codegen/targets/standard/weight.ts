import { int } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import type { Graph, Value } from '../../../ir/graph.ts';
import { floats, inMemory, int64s, type Tensor } from '../../../ir/tensor.ts';
import { tensorType } from '../../../ir/types.ts';
import { dequantized, packedInt4, unsignedBytes, type QuantizedWeight } from '../quantized.ts';

/**
 * How weights of 8 bits are stored: as signed or unsigned bytes, or, as narrower ones too, as the floats that they stand for, where nothing
 * multiplies integers and reading them again for each run would cost more than it saves. Where x86 has no VNNI, ONNX Runtime adds pairs of
 * products of unsigned and signed bytes in 16 bits, which saturate, unless a session asks for `session.x64quantprecision`; its way with two
 * unsigned factors is exact everywhere, and does not use VNNI.
 */
export type PlainWeights = 'signed' | 'unsigned' | 'float';

/** A weight's FakeQuantize as floats, or as integers behind DequantizeLinear, where row groups are uneven behind Cast, Gather and Mul. */
export function lowerWeight(graph: Graph, w: QuantizedWeight, stored: PlainWeights): void {
  if (stored === 'float') {
    graph.replaceUses(w.node.output, graph.addConstant(graph.freshName(w.node.output.name), dequantized(w)));
    return graph.erase(w.node);
  }
  const storage = w.qmin >= -8 && w.qmax <= 7 ? int4 : stored === 'signed' ? int8 : uint8;
  const build = Builder.before(w.node, w.node.output.name);
  // Signed bytes have their zero points written out even where all are zero; see `zeroPoints`.
  const zeros = w.qmin === -w.qmax && storage === int4 ? null : floats(w.zero).map((z) => z + storage.lift);
  const fits = zeros === null || zeros.every((z) => z >= storage.low && z <= storage.high);
  const even = w.sizes.every((n, g) => n === w.sizes[0] || (g === w.sizes.length - 1 && n < w.sizes[0]!));
  const result = even && fits && !meetsClusters(w) ? dequantize(build, w, zeros, storage) : expand(build, w);
  graph.replace(w.node.output, result);
  graph.erase(w.node);
}

/** ONNX Runtime 1.30 takes inputs with a scale for each channel for those with one, fuses, and then refuses to run. */
const meetsClusters = (w: QuantizedWeight): boolean =>
  [...w.node.output.uses].some(({ node }) => {
    const input = node.input(0)?.producer;
    return input?.op === 'DequantizeLinear' && input.input(1)?.constant?.shape.length === 1;
  });

/** How codes of a weight are stored. */
interface WeightStorage {
  readonly low: number;
  readonly high: number;
  /** Added to signed codes and zero points to give stored ones. */
  readonly lift: number;
  readonly codes: (signed: Tensor) => Tensor;
  readonly zeros: (shape: readonly number[], zeros: Float32Array) => Tensor;
}

const int4: WeightStorage = {
  low: -8,
  high: 7,
  lift: 0,
  codes: packedInt4,
  zeros: (shape, zeros) => packedInt4(inMemory('i8', shape, Int8Array.from(zeros))),
};
const int8: WeightStorage = {
  low: -128,
  high: 127,
  lift: 0,
  codes: (signed) => signed,
  zeros: (shape, zeros) => inMemory('i8', shape, Int8Array.from(zeros)),
};
const uint8: WeightStorage = {
  low: 0,
  high: 255,
  lift: 128,
  codes: unsignedBytes,
  zeros: (shape, zeros) => inMemory('u8', shape, Uint8Array.from(zeros)),
};

function dequantize(build: Builder, w: QuantizedWeight, zeros: Float32Array | null, storage: WeightStorage): Value {
  const codes = build.constant('codes', storage.codes(w.codes));
  const one = w.sizes.length === 1;
  const shape = one ? [w.columns] : [w.sizes.length, w.columns];
  const scale = build.constant('scale', { ...w.scale, shape });
  const zero = zeros && build.constant('zero_point', storage.zeros(shape, zeros));
  const attributes = one ? { axis: int(1) } : { axis: int(0), block_size: int(w.sizes[0]!) };
  return build.value('DequantizeLinear', zero ? [codes, scale, zero] : [codes, scale], attributes, tensorType('f32', [w.rows, w.columns]));
}

/** (codes - zero[group]) * scale[group]: runtimes fold it into a float weight when they load the model. */
function expand(build: Builder, w: QuantizedWeight): Value {
  const type = tensorType('f32', [w.rows, w.columns]);
  const codes = build.constant('codes', w.qmin >= -8 && w.qmax <= 7 ? packedInt4(w.codes) : w.codes);
  const group = build.constant(
    'group',
    int64s(
      [w.rows],
      w.sizes.flatMap((n, g) => Array.from({ length: n }, () => g)),
    ),
  );
  const rows = (suffix: string, t: Tensor): Value => build.value('Gather', [build.constant(suffix, t), group], { axis: int(0) }, type);
  let value = build.value('Cast', [codes], { to: int(1) }, type);
  if (w.qmin !== -w.qmax) value = build.value('Sub', [value, rows('zero', w.zero)], {}, type);
  return build.value('Mul', [value, rows('scale', w.scale)], {}, type);
}
