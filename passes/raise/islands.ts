import { int } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { isChannelVector, isMatrix } from '../../ir/constants.ts';
import type { Graph, Node, Value } from '../../ir/graph.ts';
import { Reshape } from '../../ir/ops/generated.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { any, op, refuse } from '../../ir/pattern.ts';
import { rule, type RewriteRule } from '../../ir/rewrite.ts';
import { productOf, sameShape } from '../../ir/shapes/dims.ts';
import { tensorType, type Dim } from '../../ir/types.ts';
import { hasRole, recordOf } from '../operators/index.ts';

/** A value [.., C] that a Reshape makes [tokens, C]; null if `v` is not one. */
function flattened(v: Value | null): Value | null {
  const reshape = viewAs(Reshape, v?.producer ?? null);
  const [from, to] = [reshape?.data.type?.shape, v?.type?.shape];
  if (!reshape || !from || !to || from.length < 3 || to.length !== 2) return null;
  const known = typeof to[1] === 'number' && from.at(-1) === to[1] && productOf(from.slice(0, -1)) === to[0];
  return known ? reshape.data : null;
}

/** f(Reshape(x)) = Reshape(f(x)) for an f that acts on each token alone: the 2-D island shrinks until it is gone. */
const sink: RewriteRule = {
  name: 'sink-flattening',
  apply(node, graph) {
    if (!recordOf(node).tokenwise || node.outputs.length !== 1) return 'no-match';
    const sources = node.operands.map((u) => flattened(u.value));
    const lead = sources.find((s) => s !== null)?.type?.shape?.slice(0, -1);
    if (!lead) return 'no-match';
    const axis = node.attributes.get('axis');
    if (axis?.kind === 'int' && axis.value !== -1n && axis.value !== 1n) return refuse('it mixes tokens', node.output);
    const others = node.operands.flatMap((u, i) => (sources[i] ? [] : [u.value]));
    if (!others.every((v) => v === null || tokenIndependent(node, v)))
      return refuse('an operand is neither flattened nor the same for all tokens', node.output);
    if (!sources.every((s) => s === null || sameShape(s.type?.shape?.slice(0, -1), lead)))
      return refuse('two operands are flattened from different shapes', node.output);
    raiseRank(
      graph,
      node,
      node.operands.map((u, i) => sources[i] ?? u.value),
      lead,
    );
    return 'applied';
  },
};

function tokenIndependent(node: Node, v: Value): boolean {
  if (hasRole(node, 'linear')) return isMatrix(v) && node.input(1) === v;
  return isChannelVector(v) || v.constant?.shape.length === 0;
}

function raiseRank(graph: Graph, node: Node, inputs: readonly (Value | null)[], lead: readonly Dim[]): void {
  const build = Builder.before(node);
  const flat = node.output.type!;
  const channels = flat.shape!.at(-1)!;
  // Axis 1 of [tokens, C] is the last one of [.., C].
  const attributes = { ...Object.fromEntries(node.attributes), ...(node.attributes.has('axis') ? { axis: int(-1) } : {}) };
  const made = build.node(node.op, inputs, {
    attributes,
    like: node.output,
    type: tensorType(flat.dtype, [...lead, channels]),
    name: node.name,
  });
  const target = build.ints('flat_shape', [-1, Number(channels)]);
  graph.replaceUses(node.output, build.make(Reshape, { data: made.output, shape: target }, { like: node.output, type: flat }).reshaped);
}

/** Reshape(Reshape(x)) = x when the last one gives back x's own extents. */
const back = rule('drop-reshape-back', op(Reshape, 'last', { data: any('flat') }), ({ last, flat }, { graph }) => {
  const source = flattened(flat);
  if (!source || !sameShape(source.type?.shape, last.reshaped.type?.shape)) return 'no-match';
  graph.replace(last.reshaped, source);
});

/** Exporters that compute the MLP on [tokens, C]: the reshapes around it go away. */
export const islands: readonly RewriteRule[] = [back, sink];
