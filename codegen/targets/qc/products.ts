import { int, ints, string } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { DynamicQuantize, FakeQuantize } from '../../../ir/ops/qc.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import { encodeFloats, floats, inMemory, lazy, type Tensor } from '../../../ir/tensor.ts';
import { tensorType, type Dim, type TensorType } from '../../../ir/types.ts';
import { emitKernel, resultOf } from '../../kernels/emit-kernel.ts';
import { bytesOf, packedShape, packWeight, storedBits, type StoredBits } from '../../kernels/packing.ts';
import { biasOf } from '../bias.ts';
import { offsetProduct, quantizedWeight, signed, type QuantizedWeight } from '../quantized.ts';
import type { Lowered } from '../target.ts';
import { clustersOf, segments, weightRefusal, type ActivationClusters, type Segment } from './clusters.ts';
import { tailOf } from './tail.ts';

type Outcome = Pick<Lowered, 'done' | 'left'>;

/** Packed codes of the quantizers that a graph has, made once for all products that read them. */
export type Codes = Map<Node, Node>;

/** Turns a product with a quantized weight into a kernel, if one can take it. */
export function lowerProduct(graph: Graph, node: Node, codes: Codes): Outcome | null {
  const weight = quantizedWeight(node.input(1));
  if (!weight) return null;
  const refused = weightRefusal(weight) ?? floatRefusal(node.input(0)!);
  if (refused !== null) return { left: `runs in float: ${refused}` };
  const x = node.input(0)!;
  const fake = viewAs(FakeQuantize, x.producer);
  if (fake) return lowerStatic(graph, node, weight, fake, codes);
  const dynamic = viewAs(DynamicQuantize, x.producer);
  return dynamic ? lowerDynamic(graph, node, weight, dynamic, codes) : lowerWeightOnly(graph, node, weight);
}

/** The float edges of kernels are f32 or f16. */
const floatRefusal = (x: Value): string | null =>
  x.type?.dtype === 'f32' || x.type?.dtype === 'f16' ? null : `its input is of type ${x.type?.dtype ?? 'unknown'}`;

function lowerStatic(graph: Graph, node: Node, w: QuantizedWeight, fake: FakeQuantize, codes: Codes): Outcome {
  const a = clustersOf(fake);
  if (typeof a === 'string') return { left: `runs in float: ${a}` };
  const parts = segments(a.sizes, w.sizes);
  const quantized = codesOf(graph, fake, a, codes);
  const perChannel = new Float32Array(w.rows);
  let channel = 0;
  a.sizes.forEach((size, g) => perChannel.fill(a.scale[g]! * a.zero[g]!, channel, (channel += size)));
  emitClusterMatMul(graph, node, w, {
    parts,
    bits: a.bits,
    scale: a.scale,
    operands: {
      codes: resultOf(quantized, 'codes'),
      offset: a.zero.every((z) => z === 0) ? null : constant(node, 'offset', offsetProduct(perChannel, w)),
    },
  });
  return { done: `integers: ${a.bits}-bit input in ${count(a.sizes, 'cluster')}, ${describe(w)}` };
}

function lowerDynamic(graph: Graph, node: Node, w: QuantizedWeight, dynamic: DynamicQuantize, codes: Codes): Outcome {
  const bits = storedBits(dynamic.qmin, dynamic.qmax);
  if (bits === null || (dynamic.block !== 0 && dynamic.block !== w.rows))
    return { left: 'runs in float: its input is quantized in blocks at run time' };
  const quantized = tokensOf(graph, dynamic, bits, codes);
  const ones = new Float32Array(w.rows).fill(1);
  emitClusterMatMul(graph, node, w, {
    parts: segments([w.rows], w.sizes),
    bits,
    scale: Float32Array.of(1),
    operands: {
      codes: resultOf(quantized, 'codes'),
      token_scale: resultOf(quantized, 'scale'),
      ...(dynamic.symmetric ? {} : { token_zero: resultOf(quantized, 'zero'), offset: constant(node, 'offset', offsetProduct(ones, w)) }),
    },
  });
  return { done: `integers: ${bits}-bit input, per token, ${describe(w)}` };
}

function lowerWeightOnly(graph: Graph, node: Node, w: QuantizedWeight): Outcome {
  const bits = storedBits(w.qmin, w.qmax)!;
  if (bits === 8) return { left: 'runs in float: there is no kernel for float inputs and 8-bit weights' };
  const bias = biasOf(node, w.columns);
  const last = bias?.node ?? node;
  const made = emitKernel(graph, last, bits === 4 ? 'Int4MatMul' : 'Int3MatMul', {
    operands: { x: node.input(0), ...weightOperands(node, w, bits), scale: constant(node, 'scale', w.scale), bias: bias?.b },
    results: { y: last.output.type },
    attributes: { groups: ints(w.sizes) },
    stem: last.output.name,
  });
  replaceTail(graph, bias ? [node, bias.node] : [node], made.output);
  return { done: `${describe(w)}, float input` };
}

interface Operation {
  readonly parts: readonly Segment[];
  readonly bits: StoredBits;
  /** Of each run of the activation. */
  readonly scale: Float32Array;
  readonly operands: Readonly<Record<string, Value | null>>;
}

function emitClusterMatMul(graph: Graph, node: Node, w: QuantizedWeight, { parts, bits, scale, operands }: Operation): void {
  const type = node.input(0)!.type!;
  const tail = tailOf(node, w.columns);
  const wBits = storedBits(w.qmin, w.qmax)!;
  const last = tail.nodes.at(-1)!;
  const shape = [parts.length, w.columns];
  const scales = lazy('f32', shape, () => scaleTable(parts, scale, floats(w.scale), w.columns));
  const made = emitKernel(graph, last, 'ClusterMatMul', {
    operands: {
      ...operands,
      ...weightOperands(node, w, wBits, parts),
      scale: constant(node, 'scale', scales),
      bias:
        tail.bias ??
        constant(
          node,
          'bias',
          lazy(type.dtype, [w.columns], () => encodeFloats(type.dtype, new Float32Array(w.columns))),
        ),
      multiplier: tail.multiplier,
    },
    results: { y: last.output.type ?? resultType(type, w.columns) },
    attributes: { groups: ints(parts.map((p) => p.size)), a_bits: int(bits), w_bits: int(wBits), activation: string(tail.activation) },
    stem: last.output.name,
  });
  replaceTail(graph, tail.nodes, made.output);
}

/** [segments, out]: the scale of the activation's run times that of the weight's. */
function scaleTable(parts: readonly Segment[], scale: Float32Array, ofWeight: Float32Array, columns: number): Float32Array {
  const table = new Float32Array(parts.length * columns);
  parts.forEach((p, i) => {
    const [to, from, factor] = [i * columns, p.weight * columns, scale[p.activation]!];
    for (let c = 0; c < columns; c++) table[to + c] = factor * ofWeight[from + c]!;
  });
  return table;
}

const resultType = (x: TensorType, columns: number): TensorType | null =>
  x.shape && tensorType(x.dtype, [...x.shape.slice(0, -1), columns]);

/** Packed codes, and zero points unless all are zero, for each segment. */
function weightOperands(
  node: Node,
  w: QuantizedWeight,
  bits: StoredBits,
  parts?: readonly Segment[],
): Readonly<Record<string, Value | null>> {
  const groups = parts?.map((p) => p.weight) ?? w.sizes.map((_, g) => g);
  const zeros = lazy('i8', [groups.length, w.columns], () => {
    const [zero, table] = [floats(w.zero), new Int8Array(groups.length * w.columns)];
    groups.forEach((g, i) => table.set(zero.subarray(g * w.columns, (g + 1) * w.columns), i * w.columns));
    return table;
  });
  return {
    weight: constant(
      node,
      'weight',
      lazy('u8', packedShape(w.rows, w.columns, bits), () => packWeight(signed(w.codes), w.rows, w.columns, bits)),
    ),
    zero: floats(w.zero).every((z) => z === 0) ? null : constant(node, 'zero', zeros),
  };
}

/** The kernel that makes the codes of a static quantizer. */
function codesOf(graph: Graph, fake: FakeQuantize, a: ActivationClusters, codes: Codes): Node {
  const known = codes.get(fake.node);
  if (known) return known;
  const made = emitKernel(graph, fake.node, 'QuantizeClusters', {
    operands: {
      x: fake.x,
      scale: constant(fake.node, 'scale', inMemory('f32', [a.scale.length], a.scale)),
      zero: constant(fake.node, 'zero', inMemory('f32', [a.zero.length], a.zero)),
    },
    results: {
      codes: codesType(
        fake.x.type!,
        a.sizes.reduce((n, s) => n + s, 0),
        a.bits,
      ),
    },
    attributes: { groups: ints(a.sizes), bits: int(a.bits), qmin: int(a.qmin), qmax: int(a.qmax) },
    stem: fake.y.name,
  });
  codes.set(fake.node, made);
  return made;
}

function tokensOf(graph: Graph, dynamic: DynamicQuantize, bits: StoredBits, codes: Codes): Node {
  const known = codes.get(dynamic.node);
  if (known) return known;
  const type = dynamic.x.type!;
  const channels = type.shape?.at(-1);
  const perToken = type.shape && tensorType('f32', [...type.shape.slice(0, -1), 1]);
  const made = emitKernel(graph, dynamic.node, 'QuantizeTokens', {
    operands: { x: dynamic.x },
    results: {
      codes: codesType(type, typeof channels === 'number' ? channels : null, bits),
      scale: perToken,
      ...(dynamic.symmetric ? {} : { zero: perToken }),
    },
    attributes: { bits: int(bits), qmin: int(dynamic.qmin), qmax: int(dynamic.qmax), symmetric: int(dynamic.symmetric ? 1 : 0) },
    stem: dynamic.y.name,
  });
  codes.set(dynamic.node, made);
  return made;
}

/** The type of packed codes of a value. */
function codesType(x: TensorType, channels: number | null, bits: StoredBits): TensorType | null {
  const bytes: Dim = channels === null ? null : bytesOf(channels, bits);
  return x.shape && tensorType('u8', [...x.shape.slice(0, -1), bytes]);
}

/** `value` takes the place of the last of some nodes, which follow one another. */
function replaceTail(graph: Graph, nodes: readonly Node[], value: Value): void {
  graph.replace(nodes.at(-1)!.output, value);
  for (const node of nodes.toReversed()) graph.erase(node);
}

const constant = (at: Node, label: string, tensor: Tensor): Value => Builder.before(at, at.output.name).constant(label, tensor);

const count = (list: readonly unknown[], what: string): string => `${list.length} ${what}${list.length === 1 ? '' : 's'}`;

const describe = (w: QuantizedWeight): string => `${storedBits(w.qmin, w.qmax)}-bit weight in ${count(w.sizes, 'row group')}`;
