import { float, int } from '../../../ir/attributes.ts';
import type { Builder } from '../../../ir/builder.ts';
import type { Value } from '../../../ir/graph.ts';
import { Add, LayerNormalization, MatMul, RMSNormalization } from '../../../ir/ops/generated.ts';
import {
  type EmbedLayerNormalization,
  SimplifiedLayerNormalization,
  SkipLayerNormalization,
  SkipSimplifiedLayerNormalization,
} from '../../../ir/ops/microsoft.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import { isRead, refuse, type Refusal } from '../../../ir/pattern.ts';
import { ruleFor, type RewriteRule } from '../../../ir/rewrite.ts';

/** What a norm would lose of its results. */
function statisticsRead(...statistics: readonly (Value | null)[]): Refusal | null {
  const read = statistics.find(isRead);
  return read ? refuse('its mean or deviation is read', read) : null;
}

/** SimplifiedLayerNormalization is the name that ONNX Runtime gave RMSNormalization before ONNX had it. */
const simplified = ruleFor('raise-simplified-layer-norm', SimplifiedLayerNormalization, ({ node, x, scale, y, inv_std_var }, build) => {
  const refused = statisticsRead(inv_std_var);
  if (refused) return refused;
  const attributes = Object.fromEntries(node.attributes);
  // The defaults are not the same.
  const given = { axis: int(-1), epsilon: float(1e-5), ...attributes };
  build.graph.replace(y, build.make(RMSNormalization, { x, scale }, { attributes: given, like: y, name: node.name }).y);
});

type Skip = SkipLayerNormalization | SkipSimplifiedLayerNormalization;

/** input + skip + bias, of which the norm is taken. A bias joins the product that one of the operands is. */
function sumOf({ input, skip, bias, output, input_skip_bias_sum: given }: Skip, build: Builder): Value {
  const like = given && isRead(given) ? given : output;
  const add = (a: Value, b: Value, as: Value): Value => build.make(Add, { a, b }, { like: as, type: input.type }).c;
  if (!bias) return add(input, skip, like);
  const isProduct = (v: Value): boolean => viewAs(MatMul, v.producer) !== null;
  return !isProduct(input) && isProduct(skip) ? add(input, add(skip, bias, skip), like) : add(add(input, bias, input), skip, like);
}

/** The norm of a sum = a sum and its norm; the sum may be read too. */
function apart(view: Skip, build: Builder, normOf: (x: Value) => Value): void | Refusal {
  const refused = statisticsRead(view.mean, view.inv_std_var);
  if (refused) return refused;
  const x = sumOf(view, build);
  build.graph.replace(view.output, normOf(x));
  if (isRead(view.input_skip_bias_sum)) build.graph.replace(view.input_skip_bias_sum!, x);
}

const detailsOf = ({ node, output, epsilon }: Skip | EmbedLayerNormalization) => ({
  attributes: { axis: int(-1), epsilon: float(epsilon) },
  like: output,
  name: node.name,
});

/** The norm at the end of an operator that does something before it. */
export function layerNormOf(view: SkipLayerNormalization | EmbedLayerNormalization, x: Value, build: Builder): Value {
  const bias = view.beta ? { b: view.beta } : {};
  return build.make(LayerNormalization, { x, scale: view.gamma, ...bias }, detailsOf(view)).y;
}

const skipLayerNorm = ruleFor('raise-skip-layer-norm', SkipLayerNormalization, (view, build) =>
  apart(view, build, (x) => layerNormOf(view, x, build)),
);

const skipRmsNorm = ruleFor('raise-skip-rms-norm', SkipSimplifiedLayerNormalization, (view, build) =>
  apart(view, build, (x) => build.make(RMSNormalization, { x, scale: view.gamma }, detailsOf(view)).y),
);

/** Norms of ONNX Runtime as those of ONNX. */
export const fusedNorms: readonly RewriteRule[] = [simplified, skipLayerNorm, skipRmsNorm];
