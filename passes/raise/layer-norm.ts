import { float, int } from '../../ir/attributes.ts';
import { isChannelVector, scalarOf } from '../../ir/constants.ts';
import { Add, Div, LayerNormalization, Mul, Pow, ReduceMean, Sqrt, Sub } from '../../ir/ops/generated.ts';
import { any, constant, either, op, refuse } from '../../ir/pattern.ts';
import { rule, type RewriteRule } from '../../ir/rewrite.ts';
import { meanRefusal } from './channel-mean.ts';

const mean = op(ReduceMean, 'mean', { data: any('x'), axes: constant('axes') });
const variance = op(ReduceMean, 'variance', {
  data: op(Pow, 'square', { x: op(Sub, 'again', { a: any('x'), b: mean }), y: constant('two') }),
  axes: constant('axes2'),
});
const deviation = op(Sqrt, 'root', {
  x: either(Add, 'sum', { a: variance, b: constant('epsilon') }, { a: constant('epsilon'), b: variance }),
});
const normalized = op(Div, 'quotient', { a: op(Sub, 'centred', { a: any('x'), b: mean }), b: deviation });
const scaled = either(Mul, 'product', { a: normalized, b: constant('gain') }, { a: constant('gain'), b: normalized });

/** (x - mean) / sqrt(mean((x - mean)^2) + epsilon) * gain + bias. */
export const layerNormInParts = either(Add, 'norm', { a: scaled, b: constant('bias') }, { a: constant('bias'), b: scaled });

/** What that computes is LayerNormalization(x, gain, bias). */
const decomposed = rule('raise-layer-norm', layerNormInParts, ({ norm, x, gain, bias, epsilon, two, mean, variance }, build) => {
  if (scalarOf(two) !== 2) return refuse('the power is not 2', two);
  const refused = meanRefusal(mean, x) ?? meanRefusal(variance, x);
  if (refused) return refused;
  for (const v of [gain, bias]) if (!isChannelVector(v)) return refuse('gain or bias is not one number for each channel', v);
  const eps = scalarOf(epsilon);
  if (eps === null) return refuse('epsilon is not a number', epsilon);
  const made = build.make(
    LayerNormalization,
    { x, scale: gain, b: bias },
    {
      attributes: { axis: int(-1), epsilon: float(eps) },
      like: norm.c,
      name: norm.node.name,
    },
  );
  build.graph.replace(norm.c, made.y);
});

/** Spellings of LayerNormalization. */
export const layerNorms: readonly RewriteRule[] = [decomposed];
