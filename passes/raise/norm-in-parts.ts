import { scalarOf } from '../../ir/constants.ts';
import type { Node, Value } from '../../ir/graph.ts';
import { Add, Div, Mul, Pow, Reciprocal, ReduceMean, Sqrt, Sub } from '../../ir/ops/generated.ts';
import { viewAs, type OpClass } from '../../ir/ops/view.ts';
import { isOutput, refuse, type Pattern, type Refusal } from '../../ir/pattern.ts';
import type { RewriteRule } from '../../ir/rewrite.ts';
import { isCentred, isLastAxis } from './channel-mean.ts';
import { layerNormInParts } from './layer-norm.ts';
import { readersOf } from './neighbours.ts';
import { rmsNormsInParts } from './rms-norm.ts';

/**
 * Says of what looks like a norm and is not raised, where it leaves x / sqrt(mean(x^2) + epsilon) * gain, x being centred or not. It rewrites
 * nothing: other rules do.
 */
export const normInParts: RewriteRule = {
  name: 'raise-norm',
  apply(node) {
    const mean = viewAs(ReduceMean, node);
    if (!mean || !isLastAxis(mean.axes, mean.data)) return 'no-match';
    const power = powerOf(mean.data.producer);
    const x = power?.exponent === 2 ? power.x : null;
    return x ? behindSquares(mean.reduced, x) : behindMean(mean);
  },
};

/** x and the exponent of a power of x, as Pow or as x x; null where a node is none. */
function powerOf(node: Node | null): { readonly x: Value; readonly exponent: number | null } | null {
  const [power, product] = [viewAs(Pow, node), viewAs(Mul, node)];
  if (power) return { x: power.x, exponent: scalarOf(power.y) };
  return product && product.a === product.b ? { x: product.a, exponent: 2 } : null;
}

/** Of x - mean(x), whose squares should follow; a mean that is not taken off x is that of something else. */
function behindMean({ data, reduced }: ReduceMean): 'no-match' | Refusal {
  const subs = readers(reduced).filter((n) => n.op === Sub.schema.op && n.input(0) === data && n.input(1) === reduced);
  const centred = subs[0]?.output;
  if (!centred) return 'no-match';
  const squares = subs.flatMap((sub) => readers(sub.output).filter((n) => powerOf(n) !== null));
  if (squares.length === 0) return refuse(`the centred values feed ${readersOf(centred)} and no square`, centred);
  const isAveraged = squares.some((n) => readers(n.output).some((r) => r.op === ReduceMean.schema.op && isLastAxis(r.input(1), n.output)));
  return isAveraged ? 'no-match' : refuse('the squares of the centred values have no mean over the last axis', squares[0]!.output);
}

/** Of mean(x^2), which sqrt(mean(x^2) + epsilon), x over that, and a product with a gain should follow. */
function behindSquares(mean: Value, x: Value): 'no-match' | Refusal {
  const variance = only(mean, Add)?.output ?? mean;
  const root = only(variance, Sqrt);
  if (!root) return refuse(`the mean of squares feeds ${readersOf(variance)} instead of one Sqrt`, variance);
  const inverse = only(root.output, Reciprocal) ?? inverseBy(only(root.output, Div));
  const divisor = (inverse ?? root).output;
  const quotient = only(divisor, inverse ? Mul : Div);
  if (!quotient) return refuse(`the root of the mean feeds ${readersOf(divisor)} instead of one division`, divisor);
  const divided = otherOf(quotient, divisor)!;
  if (divided !== x && !areSame(divided, x)) return refuse('what the root divides is not what was squared', divided);
  const centred = isCentred(x);
  const behind = readers(quotient.output).map((n) => n.output);
  const further = behind.flatMap((v) => readers(v).map((n) => n.output));
  // Spellings whose rules say why they refuse one.
  const known: readonly Pattern<unknown>[] = centred ? [layerNormInParts] : rmsNormsInParts;
  if ([...behind, ...further].some((v) => known.some((p) => p.match(v, {})))) return 'no-match';
  const scaled = only(quotient.output, Mul);
  if (!scaled || !otherOf(scaled, quotient.output)?.constant)
    return refuse(`the quotient feeds ${readersOf(quotient.output)} instead of one product with a constant gain`, quotient.output);
  const biased = only(scaled.output, Add);
  if (centred && !(biased && otherOf(biased, scaled.output)?.constant))
    return refuse('it is a LayerNormalization without a constant bias', scaled.output);
  return refuse('the spelling is unknown', scaled.output);
}

/** A Div whose numerator is a number. */
const inverseBy = (node: Node | null): Node | null => (node && scalarOf(node.input(0)) !== null ? node : null);

const readers = (v: Value): readonly Node[] => [...v.uses].map((u) => u.node);

/** The only reader of a value, if it is a `cls` node. */
const only = (v: Value, cls: OpClass): Node | null => (v.soleUse?.node.op === cls.schema.op && !isOutput(v) ? v.soleUse.node : null);

/** The operand beside `v` of a node with two. */
const otherOf = (node: Node, v: Value): Value | null => node.input(node.input(0) === v ? 1 : 0);

/** Whether two values come from one operator on the same operands, as where an exporter writes x - mean twice. */
const areSame = (a: Value, b: Value): boolean =>
  a.producer !== null && a.producer.op === b.producer?.op && a.producer.operands.every((u, i) => u.value === b.producer!.input(i));
