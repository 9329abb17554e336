import { int, type Attributes } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { Add } from '../../../ir/ops/generated.ts';
import { FakeQuantize } from '../../../ir/ops/qc.ts';
import { isOutput } from '../../../ir/pattern.ts';
import { dense, floats, inMemory, integers, type Tensor } from '../../../ir/tensor.ts';
import { tensorType } from '../../../ir/types.ts';
import { addBias } from '../../../ir/weights.ts';
import { offsetProduct, packedInt4, quantizedWeight, runs } from '../quantized.ts';

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
