import { float, ints } from '../../../ir/attributes.ts';
import type { Builder } from '../../../ir/builder.ts';
import { isMatrix } from '../../../ir/constants.ts';
import type { Value } from '../../../ir/graph.ts';
import { Gemm, MatMul, Mul, Transpose } from '../../../ir/ops/generated.ts';
import { FusedGemm, FusedMatMul } from '../../../ir/ops/microsoft.ts';
import { refuse } from '../../../ir/pattern.ts';
import { ruleFor, type RewriteRule } from '../../../ir/rewrite.ts';
import { fusedAxes } from '../../../ir/shapes/microsoft.ts';
import { derived, floats, transposed, type Tensor } from '../../../ir/tensor.ts';
import { tensorType } from '../../../ir/types.ts';

/** alpha A B, either of which may come turned = MatMul. A constant matrix takes alpha and its turn in. */
const matMul = ruleFor('raise-fused-mat-mul', FusedMatMul, (view, build) => {
  const { node, a, b, y, alpha } = view;
  const unranked = [a, b].find((v) => (v.type?.shape?.length ?? 0) < 2);
  if (unranked) return refuse('the axes of an operand are unknown', unranked);
  const left = turned(build, a, view.transBatchA !== 0, view.transA !== 0);
  const weight = isMatrix(b) ? scaledBy(view.transB ? transposed(b.constant!) : b.constant!, alpha) : null;
  const right = weight ? constantAs(build, b, weight) : turned(build, b, view.transBatchB !== 0, view.transB !== 0);
  const product = build.make(MatMul, { a: left, b: right }, { like: y, name: node.name }).y;
  const whole = weight || alpha === 1;
  build.graph.replace(y, whole ? product : build.make(Mul, { a: product, b: build.scalar('alpha', alpha) }, { like: y }).c);
});

const scaledBy = (t: Tensor, k: number): Tensor => (k === 1 ? t : derived(t, t.shape, () => floats(t).map((x) => x * k)));
const constantAs = (build: Builder, from: Value, t: Tensor): Value =>
  t === from.constant ? from : build.graph.addConstant(build.graph.freshName(from.name), t);

/** An operand with its axes as the product wants them. */
function turned(build: Builder, x: Value, batch: boolean, matrix: boolean): Value {
  const shape = x.type!.shape!;
  const perm = fusedAxes(shape.length, batch, matrix);
  if (perm.every((p, i) => p === i)) return x;
  const type = tensorType(
    x.type!.dtype,
    perm.map((p) => shape[p]!),
  );
  return build.make(Transpose, { data: x }, { attributes: { perm: ints(perm) }, like: x, type }).transposed;
}

/** Activations that have no numbers of their own. */
const plainActivations: ReadonlySet<string> = new Set(['Relu', 'Sigmoid', 'Tanh', 'Softplus', 'Softsign']);

/** A Gemm with an activation behind it = both. */
const gemm = ruleFor('raise-fused-gemm', FusedGemm, ({ node, a, b, c, y, activation, activation_alpha }, build) => {
  const leaky = activation === 'LeakyRelu';
  if (!leaky && !plainActivations.has(activation)) return refuse(`its activation is ${activation || 'none'}`, y);
  const attributes = Object.fromEntries([...node.attributes].filter(([name]) => !name.startsWith('activation')));
  const product = build.make(Gemm, { a, b, c }, { attributes, like: y, name: node.name }).y;
  build.graph.replace(
    y,
    build.node(activation, [product], { attributes: leaky ? { alpha: float(activation_alpha) } : {}, like: y }).output,
  );
});

/** Products of ONNX Runtime as those of ONNX. */
export const fusedProducts: readonly RewriteRule[] = [matMul, gemm];
