import { float, int } from '../../ir/attributes.ts';
import { isChannelVector, scalarOf } from '../../ir/constants.ts';
import type { Value } from '../../ir/graph.ts';
import { Add, Div, Mul, Pow, ReduceMean, Reciprocal, RMSNormalization, Sqrt } from '../../ir/ops/generated.ts';
import { any, constant, either, op, refuse, type Pattern, type Refusal } from '../../ir/pattern.ts';
import { rule, type RewriteRule } from '../../ir/rewrite.ts';
import { isCentred, meanRefusal } from './channel-mean.ts';

/** The exponent of Pow and the numerator of Div are there where the spelling has them. */
interface Root {
  readonly x: Value;
  readonly mean: ReduceMean;
  readonly epsilon: Value;
  readonly two?: Value;
}
interface Norm extends Root {
  readonly norm: Mul;
  readonly gain: Value;
  readonly one?: Value;
}

/** sqrt(mean(x^2) + epsilon), with x^2 as a power or as a product. */
const roots: readonly Pattern<Root>[] = [
  op(Pow, 'square', { x: any('x'), y: constant('two') }),
  op(Mul, 'square', { a: any('x'), b: any('x') }),
].map((square: Pattern<{ readonly x: Value; readonly two?: Value }>): Pattern<Root> => {
  const mean = op(ReduceMean, 'mean', { data: square, axes: constant('axes') });
  return op(Sqrt, 'root', { x: either(Add, 'sum', { a: mean, b: constant('epsilon') }, { a: constant('epsilon'), b: mean }) });
});

/** The three ways to divide x by the root, and to multiply that with the gain. */
export const rmsNormsInParts: readonly Pattern<Norm>[] = roots.flatMap((root): readonly Pattern<Norm>[] => {
  const times = <C>(inverse: Pattern<C>) => either(Mul, 'quotient', { a: any('x'), b: inverse }, { a: inverse, b: any('x') });
  const scaled = <C>(quotient: Pattern<C>) => either(Mul, 'norm', { a: quotient, b: any('gain') }, { a: any('gain'), b: quotient });
  return [
    scaled(op(Div, 'quotient', { a: any('x'), b: root })),
    scaled(times(op(Reciprocal, 'inverse', { x: root }))),
    scaled(times(op(Div, 'inverse', { a: constant('one'), b: root }))),
  ];
});

/** x / sqrt(mean(x^2) + epsilon) * gain = RMSNormalization(x, gain). */
const rules = rmsNormsInParts.map((pattern) =>
  rule('raise-rms-norm', pattern, (parts, build) => {
    const { norm, x, gain, epsilon } = parts;
    if (isCentred(x)) return 'no-match';
    const refused = refusal(parts);
    if (refused) return refused;
    const attributes = { axis: int(-1), epsilon: float(scalarOf(epsilon)!) };
    build.graph.replace(norm.c, build.make(RMSNormalization, { x, scale: gain }, { attributes, like: norm.c, name: norm.node.name }).y);
  }),
);

function refusal({ x, mean, epsilon, gain, two, one }: Norm): Refusal | null {
  if (two && scalarOf(two) !== 2) return refuse('the power is not 2', two);
  if (one && scalarOf(one) !== 1) return refuse('the root divides a number other than 1', one);
  const refused = meanRefusal(mean, x);
  if (refused) return refused;
  if (scalarOf(epsilon) === null) return refuse('epsilon is not a number', epsilon);
  // RMSNormalization computes in f32 unless told otherwise.
  if (x.type?.dtype !== 'f32') return refuse(`it computes in ${x.type?.dtype ?? 'an unknown element type'} instead of f32`, x);
  // A gain of another length would broaden the product.
  const channels = x.type.shape?.at(-1);
  if (typeof channels !== 'number') return refuse('the number of channels is unknown', x);
  return isChannelVector(gain, channels) ? null : refuse('the gain is not one number for each channel', gain);
}

/** Spellings of RMSNormalization. */
export const rmsNorms: readonly RewriteRule[] = rules;
