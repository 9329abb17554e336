import { permAt, scaleAt, shiftAt, type ChannelTransform } from '../../ir/channel.ts';
import { isMatrix } from '../../ir/constants.ts';
import { free, headed, pinned, type Freedom } from '../../ir/freedom.ts';
import type { Graph, Node, Use } from '../../ir/graph.ts';
import * as ops from '../../ir/ops/generated.ts';
import { Decode } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { addBias, constantLike, movedRows, shiftProduct } from '../../ir/weights.ts';
import { headsOf } from './heads.ts';

/** What an operator does with a Decode on one of its operands. */
export interface Down {
  readonly freedom: (node: Node, operand: number, size: number) => Freedom | null;
  /** Makes the operand read the Decode's own operand; false when this Decode cannot be taken after all. */
  readonly absorb: (graph: Graph, use: Use, decode: Decode) => boolean;
}

/** D(x) W = x W' + shift W, where row perm[i] of W' is scale[i] times row i of W. */
const matMul: Down = {
  freedom: (node, operand, size) => (operand === 0 && isMatrix(node.input(1)) ? free(size) : null),
  absorb(graph, use, decode) {
    const { node, index } = use;
    const [weight, t] = [node.input(1), decode.transform];
    if (index !== 0 || !weight?.constant || !isMatrix(weight)) return false;
    graph.setInput(node, 0, decode.x);
    if (t.perm || t.scale) graph.setInput(node, 1, constantLike(graph, weight, movedRows(t, weight.constant)));
    if (t.shift) addBias(node.output, shiftProduct(t, weight.constant), `${weight.name}.bias`);
    return true;
  },
};

/** Shape(D(x)) = Shape(x). */
const shape: Down = {
  freedom: (_node, _operand, size) => free(size),
  absorb(graph, use, decode) {
    graph.setInput(use.node, use.index, decode.x);
    return true;
  },
};

/**
 * D(q) E(k)^T = q k^T when both have the same order within each head and reciprocal scales. A shift of k adds the same to all
 * scores of a query, which the softmax ignores; a shift of q does not cancel.
 */
const attention: Down = {
  freedom(node, operand, size) {
    const heads = headsOf(node);
    if (!heads || operand > 1) return pinned(size);
    if (operand === 0) return headed(heads.queries, size / heads.queries, heads.shared, { perm: true, scale: true, shift: false });
    return headed(heads.keys, size / heads.keys, 1, { perm: true, scale: true, shift: new ops.Attention(node).softcap === 0 });
  },
  absorb(graph, use, decode) {
    const view = viewAs(ops.Attention, use.node);
    const [q, k] = [viewAs(Decode, view?.q.producer ?? null), viewAs(Decode, view?.k.producer ?? null)];
    if (!view || !headsOf(view.node) || use.index > 1 || (q !== null && k !== null && q.node === k.node)) return false;
    if (!cancel(q?.transform ?? null, k?.transform ?? null, view)) return false;
    if (q) graph.setInput(view.node, 0, q.x);
    if (k) graph.setInput(view.node, 1, k.x);
    return q?.node === decode.node || k?.node === decode.node;
  },
};

function cancel(q: ChannelTransform | null, k: ChannelTransform | null, view: ops.Attention): boolean {
  // A soft cap is not blind to what a shift adds to all scores of a query.
  if (q?.shift || (k?.shift && view.softcap !== 0)) return false;
  const width = (q ? q.size / view.q_num_heads : k!.size / view.kv_num_heads) | 0;
  const shared = view.q_num_heads / view.kv_num_heads;
  const keyOf = (i: number) => Math.floor(i / width / shared) * width + (i % width);
  for (let i = 0; i < width * view.q_num_heads; i++) {
    const j = keyOf(i);
    const [p, r] = [q ? permAt(q, i) : i, k ? permAt(k, j) : j];
    const sameHead = Math.floor(p / width) === Math.floor(i / width) && Math.floor(r / width) === Math.floor(j / width);
    const product = (q ? scaleAt(q, i) : 1) * (k ? scaleAt(k, j) : 1);
    if (!sameHead || p % width !== r % width || Math.abs(product - 1) > 1e-9 || !Number.isFinite(k ? shiftAt(k, j) : 0)) return false;
  }
  return true;
}

/** The table of what each operator lets through downwards. An operator that is missing takes nothing. */
export const down: Readonly<Record<string, Down>> = { MatMul: matMul, Shape: shape, Attention: attention };
