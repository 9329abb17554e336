import { int, ints, type Attributes } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { permAt } from '../../ir/channel.ts';
import { fail } from '../../ir/diagnostics.ts';
import type { Graph, Node, Value } from '../../ir/graph.ts';
import { Add, Attention } from '../../ir/ops/generated.ts';
import { Decode, DynamicQuantize, Encode, FakeQuantize } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { isOutput } from '../../ir/pattern.ts';
import { dense, floats, inMemory, integers, int64s, scalar, type Tensor } from '../../ir/tensor.ts';
import { tensorType } from '../../ir/types.ts';
import { addBias } from '../../ir/weights.ts';
import { dequantized, offsetProduct, packedInt4, quantizedWeight, runs, unsignedBytes, type QuantizedWeight } from './quantized.ts';

/** y = x[perm] * scale + shift in Gather, Mul and Add, as far as there is something to do. */
export function lowerTransform(graph: Graph, node: Node): void {
  const view = viewAs(Encode, node) ?? new Decode(node);
  const t = view.transform;
  const build = Builder.before(node, node.output.name);
  const type = view.x.type;
  let value = view.x;
  if (t.perm)
    value = build.value(
      'Gather',
      [
        value,
        build.constant(
          'order',
          int64s(
            [t.size],
            Array.from({ length: t.size }, (_, i) => permAt(t, i)),
          ),
        ),
      ],
      { axis: int(-1) },
      type,
    );
  if (t.scale) value = build.value('Mul', [value, build.constant('scale', dense([t.size], t.scale))], {}, type);
  if (t.shift) value = build.value('Add', [value, build.constant('shift', dense([t.size], t.shift))], {}, type);
  graph.replace(node.output, value);
  graph.erase(node);
}

/**
 * An activation's FakeQuantize as QuantizeLinear and DequantizeLinear. Where codes are narrower than their type, x is clipped first:
 * between the two, ONNX Runtime would take DequantizeLinear for one half of a pair and move it on its own.
 * A zero point outside the type moves: x - o is quantized instead, o being a whole number of steps, and o W joins the bias.
 */
export function lowerActivation(graph: Graph, node: Node): void {
  const fake = new FakeQuantize(node);
  const storage = storageFor(fake);
  const index = integers(fake.index.constant!);
  const sizes = runs(index);
  const groupScale = floats(fake.scale.constant!);
  const groupZero = Float32Array.from(floats(fake.zero.constant!), (z) => z + storage.bias);
  const fitting = groupZero.map((z) => Math.min(Math.max(z, storage.low), storage.high));
  const one = sizes.length === 1;
  const spread = (v: Float32Array): Float32Array => (one ? v.slice(0, 1) : Float32Array.from(index, (g) => v[g]!));
  const shape = one ? [] : [index.length];
  const build = Builder.before(node, node.output.name);
  const type = fake.x.type;
  const offset = Float32Array.from(index, (g) => groupScale[g]! * (fitting[g]! - groupZero[g]!));
  const moves = offset.some((o) => o !== 0);
  const source = moves ? build.value('Sub', [fake.x, build.constant('offset', dense([index.length], offset))], {}, type) : fake.x;
  const scale = build.constant('scale', dense(shape, spread(groupScale)));
  const zero = build.constant('zero_point', storage.tensor(shape, spread(fitting)));
  const attributes: Attributes = one ? {} : { axis: int(-1) };
  const ends = storage.clip?.map((code) => dense(shape, spread(groupScale.map((s, g) => (code - fitting[g]!) * s))));
  const inside = ends ? clipped(build, source, ends, one) : source;
  const codes = build.value('QuantizeLinear', [inside, scale, zero], attributes, type && tensorType(storage.dtype, type.shape));
  const result = build.value('DequantizeLinear', [codes, scale, zero], attributes, type);
  graph.replace(node.output, result);
  graph.erase(node);
  if (moves) addOffset(graph, result, offset);
}

/** Holds x between what the first and the last code stand for; `one` pair for all channels, or a pair for each. */
function clipped(build: Builder, x: Value, [low, high]: readonly Tensor[], one: boolean): Value {
  const ends = [build.constant('least', low!), build.constant('most', high!)] as const;
  if (one) return build.value('Clip', [x, ...ends], {}, x.type);
  return build.value('Min', [build.value('Max', [x, ends[0]], {}, x.type), ends[1]], {}, x.type);
}

interface Storage {
  readonly dtype: 'i4' | 'u8';
  readonly low: number;
  readonly high: number;
  /** Added to signed codes to give stored ones. */
  readonly bias: number;
  readonly clip: readonly [number, number] | null;
  readonly tensor: (shape: readonly number[], codes: Float32Array) => Tensor;
}

/**
 * 4-bit codes in int4, all others in uint8: x86 multiplies unsigned activations with signed weights fastest, and ONNX Runtime 1.30
 * refuses its own rewriting of some int8 pairs behind a Reshape.
 */
function storageFor({ qmin, qmax }: FakeQuantize): Storage {
  if (qmin === -8 && qmax === 7) {
    const tensor = (shape: readonly number[], codes: Float32Array) => packedInt4(inMemory('i8', shape, Int8Array.from(codes)));
    return { dtype: 'i4', low: -8, high: 7, bias: 0, clip: null, tensor };
  }
  const bias = 128;
  const whole = qmin === -128 && qmax === 127;
  return {
    dtype: 'u8',
    low: 0,
    high: 255,
    bias,
    clip: whole ? null : [qmin + bias, qmax + bias],
    tensor: (shape, codes) => inMemory('u8', shape, Uint8Array.from(codes)),
  };
}

/** Gives back an offset that was taken off before quantization: in the bias of the products that read the value, else by an Add. */
function addOffset(graph: Graph, value: Value, offset: Float32Array): void {
  for (const use of [...value.uses]) {
    const weight = use.node.op === 'MatMul' && use.index === 0 ? quantizedWeight(use.node.input(1)) : null;
    if (weight) addBias(use.node.output, offsetProduct(offset, weight), `${use.node.output.name}.offset`);
    else {
      const build = Builder.before(use.node, use.node.output.name);
      graph.setInput(
        use.node,
        use.index,
        build.value('Add', [value, build.constant('offset', dense([offset.length], offset))], {}, value.type),
      );
    }
  }
  if (isOutput(value)) addToOutput(graph, value, offset);
}

/** The caller of the graph reads the sum, under the name that it knows. */
function addToOutput(graph: Graph, value: Value, offset: Float32Array): void {
  const build = Builder.behind(graph, value);
  const b = build.vector(`${value.name}.offset`, offset);
  graph.replaceOutput(value, build.make(Add, { a: value, b }, { like: value }).c);
}

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

/** Per-token quantization in standard operators; see the body of qc.DynamicQuantize for the equations. */
export function lowerDynamic(graph: Graph, node: Node): void {
  const view = new DynamicQuantize(node);
  const build = Builder.before(node, node.output.name);
  const channels = view.x.type?.shape?.at(-1);
  const blocked = view.block > 0 && view.block !== channels;
  if (blocked && (typeof channels !== 'number' || channels % view.block !== 0))
    fail(
      'QC4001',
      `%${view.x.name} has ${channels ?? 'an unknown number of'} channels, so it cannot be cut into blocks of ${view.block}`,
      node.loc,
    );
  const rows = blocked
    ? build.value('Reshape', [view.x, build.constant('blocks', int64s([3], [-1, Number(channels) / view.block, view.block]))])
    : view.x;
  const quantized = perRow(build, rows, view);
  const result = blocked ? build.value('Reshape', [quantized, build.value('Shape', [view.x])], {}, view.x.type) : quantized;
  graph.replace(node.output, result);
  graph.erase(node);
}

function perRow(build: Builder, x: Value, { qmin, qmax, symmetric }: DynamicQuantize): Value {
  const number = (k: number) => build.constant('number', scalar(k));
  const reduce = (op: string, v: Value) => build.value(op, [v, build.constant('axis', int64s([1], [-1]))], { keepdims: int(1) });
  const tiny = number(1.1754943508222875e-38);
  const [least, most] = [number(qmin), number(qmax)];
  if (symmetric) {
    const scale = build.value('Max', [build.value('Div', [reduce('ReduceMax', build.value('Abs', [x])), most]), tiny]);
    const codes = build.value('Clip', [build.value('Round', [build.value('Div', [x, scale])]), least, most]);
    return build.value('Mul', [codes, scale], {}, x.type);
  }
  const low = build.value('Min', [reduce('ReduceMin', x), number(0)]);
  const high = build.value('Max', [reduce('ReduceMax', x), number(0)]);
  const scale = build.value('Max', [build.value('Div', [build.value('Sub', [high, low]), number(qmax - qmin)]), tiny]);
  const zero = build.value('Clip', [build.value('Sub', [least, build.value('Round', [build.value('Div', [low, scale])])]), least, most]);
  const codes = build.value('Clip', [build.value('Add', [build.value('Round', [build.value('Div', [x, scale])]), zero]), least, most]);
  return build.value('Mul', [build.value('Sub', [codes, zero]), scale], {}, x.type);
}

/** Every Attention that is no more than its primitives as these, for opsets before 23. */
export function lowerAttentions(graph: Graph): void {
  for (const node of [...graph.nodes]) if (node.op === Attention.schema.op) lowerAttention(graph, node);
}

/** Attention [batch, seq, heads * width] in Reshape, Transpose, MatMul and Softmax. */
function lowerAttention(graph: Graph, node: Node): void {
  const view = new Attention(node);
  const plain =
    !view.past_key &&
    !view.past_value &&
    node.outputs.slice(1).every((o) => o.uses.size === 0 && !graph.outputs.includes(o)) &&
    view.is_causal === 0 &&
    view.softcap === 0;
  const heads = view.q_num_heads;
  if (!plain || heads === 0 || heads !== view.kv_num_heads) return;
  const build = Builder.before(node, node.output.name);
  const width = (v: Value): number => {
    const channels = v.type?.shape?.at(-1);
    return typeof channels === 'number' ? channels / heads : fail('QC4001', `%${v.name} has an unknown number of channels`, node.loc);
  };
  const split = (v: Value, perm: readonly number[]) =>
    build.value('Transpose', [build.value('Reshape', [v, build.constant('heads', int64s([4], [0, 0, heads, width(v)]))])], {
      perm: ints(perm),
    });
  const factor = view.node.attributes.has('scale') ? view.scale : 1 / Math.sqrt(width(view.q));
  const query = factor === 1 ? view.q : build.value('Mul', [view.q, build.constant('factor', scalar(factor))], {}, view.q.type);
  const scores = build.value('MatMul', [split(query, [0, 2, 1, 3]), split(view.k, [0, 2, 3, 1])]);
  const masked = view.attn_mask ? build.value('Add', [scores, view.attn_mask]) : scores;
  const context = build.value('MatMul', [build.value('Softmax', [masked], { axis: int(-1) }), split(view.v, [0, 2, 1, 3])]);
  const merged = build.value('Transpose', [context], { perm: ints([0, 2, 1, 3]) });
  graph.replace(
    view.y,
    build.value('Reshape', [merged, build.constant('merged', int64s([3], [0, 0, heads * width(view.v)]))], {}, view.y.type),
  );
  graph.erase(node);
}
