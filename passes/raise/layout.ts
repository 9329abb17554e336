import { int, ints } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { integersOf } from '../../ir/constants.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import { Concat, Gather, Reshape, Shape, Slice, Transpose } from '../../ir/ops/generated.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { isOutput } from '../../ir/pattern.ts';
import type { RewriteRule } from '../../ir/rewrite.ts';
import { productOf, sameShape } from '../../ir/shapes/dims.ts';
import { tensorType, type Dim } from '../../ir/types.ts';

/** Readers of `from` read `x`. An output of the graph whose node would become an Identity stays as it is. */
function forward(graph: Graph, from: Value, x: Value): 'applied' | 'no-match' {
  if (isOutput(from) && !graph.canRenameOutput(x)) return 'no-match';
  graph.replaceUses(from, x);
  return 'applied';
}

/** The order in which a Transpose puts the axes. */
export const permOf = (view: Transpose): readonly number[] | null =>
  view.perm ?? view.data.type?.shape?.map((_, i, { length }) => length - 1 - i) ?? null;

const isIdentity = (perm: readonly number[]): boolean => perm.every((p, i) => p === i);

/** Transpose(Transpose(x)) = Transpose(x), and a Transpose that moves no axis is x. */
const transposes: RewriteRule = {
  name: 'join-transposes',
  apply(node, graph) {
    const outer = viewAs(Transpose, node);
    const perm = outer && permOf(outer);
    if (!perm) return 'no-match';
    if (isIdentity(perm)) return forward(graph, outer.transposed, outer.data);
    const inner = viewAs(Transpose, outer.data.producer);
    const first = inner && permOf(inner);
    if (!first) return 'no-match';
    const both = perm.map((p) => first[p]!);
    if (isIdentity(both)) return forward(graph, outer.transposed, inner.data);
    graph.replaceUses(outer.transposed, transposed(Builder.before(node), inner.data, both, outer.transposed));
    return 'applied';
  },
};

/** x with its axes in this order, named like `like`. */
export const transposed = (build: Builder, data: Value, perm: readonly number[], like: Value, type = like.type): Value =>
  build.make(Transpose, { data }, { attributes: { perm: ints(perm) }, like, type }).transposed;

/**
 * Whether a Reshape from one shape to another changes none. Where all extents but one are the same, that one is, too, since a Reshape keeps the
 * number of elements; tensors without elements have no content that could differ.
 */
function keepsShape(from: readonly Dim[] | null | undefined, to: readonly Dim[] | null | undefined): boolean {
  if (!from || !to || from.length !== to.length) return false;
  return from.filter((d, i) => d === null || d !== to[i]).length <= 1;
}

/** A Reshape to the shape that a value has is the value; Reshape(Reshape(x)) = Reshape(x). */
const reshapes: RewriteRule = {
  name: 'join-reshapes',
  apply(node, graph) {
    const outer = viewAs(Reshape, node);
    if (!outer) return 'no-match';
    if (keepsShape(outer.data.type?.shape, outer.reshaped.type?.shape)) return forward(graph, outer.reshaped, outer.data);
    const inner = viewAs(Reshape, outer.data.producer);
    if (!inner) return 'no-match';
    if (keepsShape(inner.data.type?.shape, outer.reshaped.type?.shape)) return forward(graph, outer.reshaped, inner.data);
    if (copiesExtents(outer.shape)) return 'no-match';
    graph.setInput(node, 0, inner.data);
    return 'applied';
  },
};

/** Whether the target of a Reshape has a 0, which copies an extent of what is reshaped. What is computed is taken for extents, which are not 0. */
function copiesExtents(target: Value): boolean {
  if (target.constant) return integersOf(target)?.includes(0) !== false;
  const concat = viewAs(Concat, target.producer);
  return concat ? concat.inputs.some(copiesExtents) : target.producer === null;
}

/** Transpose {0, 2, 1} of axes whose first one stands for several, which a Reshape takes apart again = Transpose of all axes. */
const turnedInThree: RewriteRule = {
  name: 'turn-under-folded-axes',
  apply(node, graph) {
    const outer = viewAs(Reshape, node);
    const turn = viewAs(Transpose, outer?.data.producer ?? null);
    const to = outer?.reshaped.type?.shape;
    if (!turn || turn.perm?.join() !== '0,2,1' || !to || to.length < 4) return 'no-match';
    const [columns, rows] = to.slice(-2) as [Dim, Dim];
    const lead = to.slice(0, -2);
    if (!sameShape(turn.data.type?.shape, [productOf(lead), rows, columns])) return 'no-match';
    const build = Builder.before(node);
    const apart = unfolded(build, turn.data, lead);
    if (!apart) return 'no-match';
    const perm = [...lead.keys(), lead.length + 1, lead.length];
    graph.replaceUses(outer!.reshaped, transposed(build, apart, perm, outer!.reshaped));
    return 'applied';
  },
};

/** A value whose first axis stands for `lead`, with these axes apart; null where more than the first of them are no numbers. */
export function unfolded(build: Builder, data: Value, lead: readonly Dim[]): Value | null {
  const [first = null, ...others] = lead;
  const numbers = others.filter((d) => typeof d === 'number');
  const [, ...rest] = data.type?.shape ?? [];
  if (numbers.length < others.length) return null;
  const tail = build.make(Shape, { data }, { attributes: { start: int(1) }, like: data, type: tensorType('i64', [rest.length]) }).shape;
  const inputs = [build.ints('lead', [-1, ...numbers]), tail];
  const joined = { attributes: { axis: int(0) }, like: data, type: tensorType('i64', [lead.length + rest.length]) };
  const shape = build.make(Concat, { inputs }, joined).concat_result;
  return build.make(Reshape, { data, shape }, { like: data, type: tensorType(data.type!.dtype, [first, ...others, ...rest]) }).reshaped;
}

/** A Slice that cuts nothing off is what it reads. */
const wholeSlice: RewriteRule = {
  name: 'drop-slice-of-all',
  apply(node, graph) {
    const slice = viewAs(Slice, node);
    if (!slice || !sameShape(slice.data.type?.shape, slice.output.type?.shape) || !stepsForward(slice)) return 'no-match';
    return forward(graph, slice.output, slice.data);
  },
};

const stepsForward = (slice: Slice): boolean => slice.steps === null || integersOf(slice.steps)?.every((s) => s > 0) === true;

/** An extent of Transpose(x) is one of x, and so is one that a Reshape of x leaves where it is: neither is kept for it. */
const extentBefore: RewriteRule = {
  name: 'extent-before-move',
  apply(node, graph) {
    const shape = viewAs(Shape, node);
    const end = node.attributes.get('end');
    const single = shape && shape.start >= 0 && end?.kind === 'int' && Number(end.value) === shape.start + 1;
    const found = single ? sourceOfExtent(shape.data, shape.start) : null;
    if (!found) return shape ? allBefore(graph, shape) : 'no-match';
    graph.setInput(node, 0, found.source);
    graph.setAttributes(node, { start: int(found.axis), end: int(found.axis + 1) });
    return 'applied';
  },
};

/** Shape(Transpose(x)) = Gather(Shape(x), perm). */
function allBefore(graph: Graph, shape: Shape): 'applied' | 'no-match' {
  const turn = viewAs(Transpose, shape.data.producer);
  const perm = turn && permOf(turn);
  if (!turn || !perm || shape.node.attributes.has('end') || shape.start !== 0) return 'no-match';
  const build = Builder.before(shape.node);
  const like = shape.shape;
  const data = build.make(Shape, { data: turn.data }, { like }).shape;
  graph.replace(like, build.make(Gather, { data, indices: build.ints('perm', perm) }, { attributes: { axis: int(0) }, like }).output);
  return 'applied';
}

function sourceOfExtent(v: Value, axis: number): { readonly source: Value; readonly axis: number } | null {
  const [turn, reshape] = [viewAs(Transpose, v.producer), viewAs(Reshape, v.producer)];
  const moved = turn && permOf(turn)?.[axis];
  if (turn && moved !== null && moved !== undefined) return { source: turn.data, axis: moved };
  const [from, to] = [reshape?.data.type?.shape?.[axis], v.type?.shape?.[axis]];
  return reshape && typeof from === 'string' && from === to ? { source: reshape.data, axis } : null;
}

/** Nodes that only move elements, and what they come to together. */
export const layouts: readonly RewriteRule[] = [transposes, reshapes, turnedInThree, wholeSlice, extentBefore];
