import { ints } from '../../ir/attributes.ts';
import type { Builder } from '../../ir/builder.ts';
import { isChannelVector, isMatrix } from '../../ir/constants.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import { Add, Gemm, MatMul, Mul, Transpose } from '../../ir/ops/generated.ts';
import { any, constant, op, refuse } from '../../ir/pattern.ts';
import { rule, type RewriteRule } from '../../ir/rewrite.ts';
import { derived, floats, reshapedTo, transposed, type Tensor } from '../../ir/tensor.ts';
import { formatType, isFloat, sizeOf, tensorType, type TensorType } from '../../ir/types.ts';

const scaledBy = (t: Tensor, k: number): Tensor => (k === 1 ? t : derived(t, t.shape, () => floats(t).map((x) => x * k)));
const added = (graph: Graph, like: Value, t: Tensor): Value => graph.addConstant(graph.freshName(like.name), t);
const typeOfProduct = (x: Value, columns: number): TensorType | null =>
  x.type?.shape ? tensorType(x.type.dtype, [...x.type.shape.slice(0, -1), columns]) : null;

/** alpha x W + beta c = MatMul(x, alpha W) + beta c, with W turned to [in, out] and x turned if it comes transposed. */
const gemm = rule('raise-gemm', op(Gemm, 'gemm', { a: any('a'), b: constant('w') }), ({ gemm, a, w }, build) => {
  if (!isMatrix(w)) return refuse(`its weight is ${formatType(w.type!)}`, w);
  const turned = gemm.transB ? transposed(w.constant!) : w.constant!;
  const x = gemm.transA ? swapped(build, a, a) : a;
  const type = typeOfProduct(x, turned.shape[1]!);
  const product = build.make(
    MatMul,
    { a: x, b: added(build.graph, w, scaledBy(turned, gemm.alpha)) },
    { like: gemm.y, type, name: gemm.node.name },
  );
  const bias = gemm.c && biasFor(build, gemm.c, gemm.beta, turned.shape[1]!);
  build.graph.replace(gemm.y, bias ? build.make(Add, { a: product.y, b: bias }, { like: gemm.y, type }).c : product.y);
});

/** beta c: one number for each channel where c is a constant row, one number or [1, N]; as it is computed elsewhere. */
function biasFor(build: Builder, c: Value, beta: number, channels: number): Value {
  const t = c.constant;
  if (!t) return beta === 1 ? c : build.make(Mul, { a: c, b: build.scalar('beta', beta) }, { like: c }).c;
  const wanted = scaledBy(sizeOf(t.shape) === 1 || t.shape.at(-1) === sizeOf(t.shape) ? asRow(t, channels) : t, beta);
  return wanted === t ? c : added(build.graph, c, wanted);
}

/** One number for each channel; a constant that is this already is handed back, so that what shares it still does. */
function asRow(t: Tensor, channels: number): Tensor {
  if (sizeOf(t.shape) < channels) return derived(t, [channels], () => new Float32Array(channels).fill(floats(t)[0]!));
  return t.shape.length === 1 ? t : reshapedTo(t, [channels]);
}

/** x W with W [1, .., in, out] is x W with W [in, out] where x has as many axes. */
const flatWeight = rule('flatten-weight', op(MatMul, 'product', { a: any('x'), b: constant('w') }), ({ product, x, w }, { graph }) => {
  const t = w.constant!;
  if (t.shape.length <= 2) return 'no-match';
  if (!isFloat(t.dtype) || t.shape.slice(0, -2).some((d) => d !== 1))
    return refuse(`its weight is a batch of matrices, ${formatType(w.type!)}`, w);
  if ((x.type?.shape?.length ?? 0) < t.shape.length) return refuse('its input has fewer axes than its weight', x);
  graph.setInput(product.node, 1, added(graph, w, reshapedTo(t, t.shape.slice(-2))));
});

/** A x with a constant A [out, in] = (x^T A^T)^T, so that the weight stands second. */
const weightFirst = rule('weight-second', op(MatMul, 'product', { a: constant('w'), b: any('x') }), ({ product, x, w }, build) => {
  const t = w.constant!;
  if (x.constant) return 'no-match';
  if (!isFloat(t.dtype) || t.shape.length < 2 || t.shape.slice(0, -2).some((d) => d !== 1))
    return refuse(`its weight is ${formatType(w.type!)}`, w);
  if ((x.type?.shape?.length ?? 0) < t.shape.length) return refuse('its input has fewer axes than its weight', x);
  const input = swapped(build, x, x);
  const weight = added(build.graph, w, transposed(reshapedTo(t, t.shape.slice(-2))));
  const type = typeOfProduct(input, weight.constant!.shape[1]!);
  const turned = build.make(MatMul, { a: input, b: weight }, { like: product.y, type, name: product.node.name });
  build.graph.replace(product.y, swapped(build, turned.y, product.y));
});

/** The last two axes exchanged. */
function swapped(build: Builder, x: Value, like: Value): Value {
  const shape = x.type!.shape!;
  const perm = swapOf(shape.length);
  const type = tensorType(
    x.type!.dtype,
    perm.map((p) => shape[p]!),
  );
  return build.make(Transpose, { data: x }, { attributes: { perm: ints(perm) }, like, type }).transposed;
}

const swapOf = (rank: number): readonly number[] => [...Array(rank - 2).keys(), rank - 1, rank - 2];

/** A transposition of a transposition that undoes it. */
const twice = rule(
  'drop-transpose-back',
  op(Transpose, 'outer', { data: op(Transpose, 'inner', { data: any('x') }) }),
  ({ outer, inner, x }, { graph }) => {
    const [p, q] = [outer.perm, inner.perm];
    if (!p || !q || p.some((axis, i) => q[axis] !== i)) return 'no-match';
    graph.replaceUses(outer.transposed, x);
  },
);

/** y^T + b with b [out, 1] = (y + b)^T with b [out]. */
const biasOfTurned = rule(
  'bias-before-transpose',
  op(Add, 'add', { a: op(Transpose, 'turn', { data: any('y') }), b: constant('bias') }),
  ({ add, turn, y, bias }, build) => {
    const t = bias.constant!;
    const perm = turn.perm;
    const isColumn = t.shape.length >= 2 && t.shape.at(-1) === 1 && sizeOf(t.shape) === t.shape.at(-2) && sizeOf(t.shape) > 1;
    if (!perm || perm.join() !== swapOf(perm.length).join() || !isColumn || t.shape.length > perm.length || !y.type?.shape)
      return 'no-match';
    const sum = build.make(Add, { a: y, b: added(build.graph, bias, reshapedTo(t, [t.shape.at(-2)!])) }, { like: y });
    build.graph.replace(add.c, swapped(build, sum.c, add.c));
  },
);

/** bias + x = x + bias. */
const biasSecond = rule('bias-second', op(Add, 'add', { a: constant('bias'), b: any('x') }), ({ add, bias, x }, { graph }) => {
  if (x.constant) return 'no-match';
  graph.setInput(add.node, 0, x);
  graph.setInput(add.node, 1, bias);
});

/** x + b with b [1, .., C] is x + b with b [C] where x has as many axes. */
const flatBias = rule('flatten-bias', op(Add, 'add', { a: any('x'), b: constant('bias') }), ({ add, x, bias }, { graph }) => {
  const t = bias.constant!;
  const isRow = t.shape.length > 1 && sizeOf(t.shape) === t.shape.at(-1) && isFloat(t.dtype);
  if (!isRow || isChannelVector(bias) || (x.type?.shape?.length ?? 0) < t.shape.length) return 'no-match';
  graph.setInput(add.node, 1, added(graph, bias, reshapedTo(t, [t.shape.at(-1)!])));
});

/** Transpose(W) is a constant when W is. */
const transposedWeight = rule('transpose-constant', op(Transpose, 'turn', { data: constant('w') }), ({ turn, w }, { graph }) => {
  const perm = turn.perm ?? [1, 0];
  if (!isMatrix(w) || perm.length !== 2 || perm[0] !== 1) return 'no-match';
  graph.replaceUses(turn.transposed, graph.addConstant(graph.freshName(w.name), transposed(w.constant!)));
});

/** Spellings of x W + b as MatMul [in, out], then Add with the bias second. */
export const linears: readonly RewriteRule[] = [gemm, flatWeight, weightFirst, twice, transposedWeight, biasSecond, flatBias, biasOfTurned];
