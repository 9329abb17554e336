import { isChannelVector, isMatrix } from '../../ir/constants.ts';
import { Add, Gemm, MatMul, Transpose } from '../../ir/ops/generated.ts';
import { create } from '../../ir/ops/view.ts';
import { any, constant, op, refuse } from '../../ir/pattern.ts';
import { rule, type RewriteRule } from '../../ir/rewrite.ts';
import { derived, floats, transposed, type Tensor } from '../../ir/tensor.ts';
import { tensorType } from '../../ir/types.ts';

const scaledBy = (t: Tensor, k: number): Tensor => (k === 1 ? t : derived(t, t.shape, () => floats(t).map((x) => x * k)));

/** alpha x W + beta c = MatMul(x, alpha W) + beta c, with W turned to [in, out]. */
const gemm = rule('raise-gemm', op(Gemm, 'gemm', { a: any('x'), b: constant('w') }), ({ gemm, x, w }, at) => {
  const c = gemm.c;
  if (gemm.transA !== 0) return refuse('the input is transposed');
  if (!isMatrix(w) || (c !== null && !isChannelVector(c))) return refuse('weight or bias is not a constant', gemm.y);
  const turned = gemm.transB ? transposed(w.constant!) : w.constant!;
  const weight = at.graph.addConstant(at.graph.freshName(w.name), scaledBy(turned, gemm.alpha));
  const type = x.type?.shape ? tensorType(x.type.dtype, [...x.type.shape.slice(0, -1), turned.shape[1]!]) : null;
  const product = create(at, MatMul, [x, weight], { like: gemm.y, type, name: gemm.node.name });
  if (c === null) return at.graph.replace(gemm.y, product.y);
  const bias = gemm.beta === 1 ? c : at.graph.addConstant(at.graph.freshName(c.name), scaledBy(c.constant!, gemm.beta));
  at.graph.replace(gemm.y, create(at, Add, [product.y, bias], { like: gemm.y, type }).c);
});

/** bias + x = x + bias. */
const biasSecond = rule('bias-second', op(Add, 'add', { a: constant('bias'), b: any('x') }), ({ add, bias, x }, { graph }) => {
  if (x.constant) return refuse('both terms are constant');
  graph.setInput(add.node, 0, x);
  graph.setInput(add.node, 1, bias);
});

/** Transpose(W) is a constant when W is. */
const transposedWeight = rule('transpose-constant', op(Transpose, 'turn', { data: constant('w') }), ({ turn, w }, { graph }) => {
  const perm = turn.perm ?? [1, 0];
  if (!isMatrix(w) || perm.length !== 2 || perm[0] !== 1) return refuse('not a transposed matrix');
  graph.replaceUses(turn.transposed, graph.addConstant(graph.freshName(w.name), transposed(w.constant!)));
});

/** Spellings of x W + b as MatMul [in, out], then Add with the bias second. */
export const linears: readonly RewriteRule[] = [gemm, transposedWeight, biasSecond];
