import { Builder } from '../../ir/builder.ts';
import { linearPart, permAt, scaleAt, shiftAt, transformAttributes, type Capability, type ChannelTransform } from '../../ir/channel.ts';
import { isChannelVector, isMatrix } from '../../ir/constants.ts';
import { headed, only, type Freedom } from '../../ir/freedom.ts';
import type { Graph, Node } from '../../ir/graph.ts';
import * as ops from '../../ir/ops/generated.ts';
import { Encode } from '../../ir/ops/qc.ts';
import { constantLike, movedColumns, movedVector } from '../../ir/weights.ts';
import { headsOf } from './heads.ts';

/**
 * What an operator does with an Encode on its result. `freedom` says which transforms it can take; `absorb` takes one, so that
 * the node's result is T(what it was): into its constants, or as an Encode on an operand, and the walk goes on there.
 */
export interface Up {
  /** Null when this node, in its present form, takes nothing. */
  readonly freedom: (node: Node, size: number) => Freedom | null;
  readonly absorb: (graph: Graph, node: Node, t: ChannelTransform) => void;
  /** The operand that an absorbed transform goes on to; null when constants take all of it. */
  readonly onward: number | null;
}

const everything: Capability = { perm: true, scale: true, shift: true };

/** Puts Encode{t} in front of an operand. */
function encodeOperand(graph: Graph, node: Node, index: number, t: ChannelTransform): void {
  const x = node.input(index)!;
  graph.setInput(node, index, Builder.before(node).make(Encode, { x }, { attributes: transformAttributes(t), like: x }).y);
}

/** T(LN(x; g, b)): scale and shift enter g and b. An order does not: LN reads x in its own. */
const layerNorm: Up = {
  freedom: (node, size) =>
    isChannelVector(node.input(1), size) ? only(size, { perm: false, scale: true, shift: isChannelVector(node.input(2), size) }) : null,
  onward: null,
  absorb(graph, node, t) {
    const gain = node.input(1)!;
    const bias = node.input(2);
    graph.setInput(node, 1, constantLike(graph, gain, movedVector(linearPart(t), gain.constant!)));
    if (bias) graph.setInput(node, 2, constantLike(graph, bias, movedVector(t, bias.constant!)));
  },
};

/** T(RMS(x; g)): only a scale enters g. */
const rmsNorm: Up = {
  freedom: (node, size) => (isChannelVector(node.input(1), size) ? only(size, { perm: false, scale: true, shift: false }) : null),
  onward: null,
  absorb(graph, node, t) {
    graph.setInput(node, 1, constantLike(graph, node.input(1)!, movedVector(t, node.input(1)!.constant!)));
  },
};

/** T(x W): the columns of W move and scale; a shift has no place here, it ends in the bias below. */
const matMul: Up = {
  freedom: (node, size) => (isMatrix(node.input(1)) ? only(size, { perm: true, scale: true, shift: false }) : null),
  onward: null,
  absorb(graph, node, t) {
    graph.setInput(node, 1, constantLike(graph, node.input(1)!, movedColumns(t, node.input(1)!.constant!)));
  },
};

/** T(x + b) = L(x) + T(b), L being T without its shift. */
const addConstant: Up = {
  freedom: (node, size) => (isChannelVector(node.input(1), size) ? only(size, everything) : null),
  onward: 0,
  absorb(graph, node, t) {
    graph.setInput(node, 1, constantLike(graph, node.input(1)!, movedVector(t, node.input(1)!.constant!)));
    encodeOperand(graph, node, 0, linearPart(t));
  },
};

/** T(f(x)) = f(T(x)) for a function of single elements, as far as `can` says. */
const elementwise = (can: Capability): Up => ({
  freedom: (_, size) => only(size, can),
  onward: 0,
  absorb: (graph, node, t) => encodeOperand(graph, node, 0, t),
});
const positive = elementwise({ perm: true, scale: 'positive', shift: false });
const order = elementwise({ perm: true, scale: false, shift: false });

/** T(P v) = P T(v) within each head, since the rows of P sum to 1; value heads that several query heads share move once. */
const attention: Up = {
  freedom(node, size) {
    const heads = headsOf(node, size);
    return heads && headed(heads.queries, size / heads.queries, heads.shared, everything);
  },
  onward: 2,
  absorb(graph, node, t) {
    const view = new ops.Attention(node);
    encodeOperand(graph, node, 2, ofLeaders(t, view.q_num_heads, view.kv_num_heads));
  },
};

/** The transform of the value heads, given that of the query heads' results. */
function ofLeaders(t: ChannelTransform, heads: number, valueHeads: number): ChannelTransform {
  const width = t.size / heads;
  const shared = heads / valueHeads;
  const source = (i: number) => Math.floor(i / width) * shared * width + (i % width);
  const size = valueHeads * width;
  const at = (f: (i: number) => number) => Float64Array.from({ length: size }, (_, i) => f(source(i)));
  const perm = Uint32Array.from({ length: size }, (_, i) => permAt(t, source(i)) - source(i) + i);
  return { size, perm: t.perm && perm, scale: t.scale && at((i) => scaleAt(t, i)), shift: t.shift && at((i) => shiftAt(t, i)) };
}

/** The table of what each operator lets through upwards. An operator that is missing takes nothing. */
export const up: Readonly<Record<string, Up>> = {
  LayerNormalization: layerNorm,
  RMSNormalization: rmsNorm,
  MatMul: matMul,
  Add: addConstant,
  Relu: positive,
  LeakyRelu: positive,
  Gelu: order,
  Sigmoid: order,
  Tanh: order,
  Erf: order,
  Attention: attention,
};
