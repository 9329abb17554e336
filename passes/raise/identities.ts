import { Builder } from '../../ir/builder.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import { scalarOf } from '../../ir/constants.ts';
import { Add, Cast, Concat, Div, Dropout, Identity, Mul, Sub } from '../../ir/ops/generated.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { any, op, refuse } from '../../ir/pattern.ts';
import { rule, type RewriteRule } from '../../ir/rewrite.ts';
import { dtypes, type Dim } from '../../ir/types.ts';

/** Readers of `from` read `x`, which keeps its name, unless the caller of the graph knows it by the other one. */
const forward = (graph: Graph, from: Value, x: Value): void => graph.replaceUses(from, x);

/** Identity(x) = x. Exporters expose one tensor under several names through it. */
const identity = rule('drop-identity', op(Identity, 'id', { input: any('x') }), ({ id, x }, { graph }) => {
  if (graph.outputs.includes(id.output) && !graph.canRenameOutput(x))
    return refuse('a graph output that is an input, a constant or another output needs its node', id.output);
  forward(graph, id.output, x);
});

/** Cast(x) = x when x has that element type already. */
const cast = rule('drop-cast', op(Cast, 'cast', { input: any('x') }), ({ cast, x }, { graph }) => {
  if (x.type?.dtype !== dtypes[cast.to - 1]) return 'no-match';
  forward(graph, cast.output, x);
});

/** Dropout(x) = x when it has no mask output and does not train. */
const dropout = rule('drop-dropout', op(Dropout, 'dropout', { data: any('x') }), ({ dropout, x }, { graph }) => {
  if (dropout.training_mode !== null || (dropout.mask?.uses.size ?? 0) > 0) return refuse('the mask or the training mode is used', x);
  forward(graph, dropout.output, x);
});

/** x * 1 = x / 1 = x + 0 = x - 0 = x, if the constant does not broaden x. */
const neutral = [
  rule('drop-mul-one', op(Mul, 'f', { a: any('x'), b: any('k') }), ({ f, x, k }, { graph }) =>
    is(k, 1) ? forward(graph, f.c, x) : 'no-match',
  ),
  rule('drop-div-one', op(Div, 'f', { a: any('x'), b: any('k') }), ({ f, x, k }, { graph }) =>
    is(k, 1) ? forward(graph, f.c, x) : 'no-match',
  ),
  rule('drop-add-zero', op(Add, 'f', { a: any('x'), b: any('k') }), ({ f, x, k }, { graph }) =>
    is(k, 0) ? forward(graph, f.c, x) : 'no-match',
  ),
  rule('drop-sub-zero', op(Sub, 'f', { a: any('x'), b: any('k') }), ({ f, x, k }, { graph }) =>
    is(k, 0) ? forward(graph, f.c, x) : 'no-match',
  ),
];
const is = (k: Value, x: number): boolean => k.constant?.shape.length === 0 && scalarOf(k) === x;

/** Concat(x) = x. */
const concat: RewriteRule = {
  name: 'drop-concat-of-one',
  apply(node, graph) {
    if (node.op !== Concat.schema.op || node.operands.length !== 1) return 'no-match';
    forward(graph, node.output, node.input(0)!);
    return 'applied';
  },
};

/** Concat(x, y) = Concat(x) where y has no elements: the channels behind those that are rotated, where all are. */
const emptyParts: RewriteRule = {
  name: 'drop-empty-part',
  apply(node, graph) {
    const concat = viewAs(Concat, node);
    if (!concat) return 'no-match';
    const extentOf = (v: Value): Dim | undefined => v.type?.shape?.at(concat.axis);
    const parts = concat.inputs.filter((v) => extentOf(v) !== 0);
    if (parts.length === 0 || parts.length === concat.inputs.length) return 'no-match';
    const attributes = Object.fromEntries(node.attributes);
    const made = Builder.before(node).make(Concat, { inputs: parts }, { attributes, like: concat.concat_result, name: node.name });
    graph.replace(concat.concat_result, made.concat_result);
    return 'applied';
  },
};

/** Nodes that compute nothing. */
export const identities: readonly RewriteRule[] = [identity, cast, dropout, concat, emptyParts, ...neutral];
