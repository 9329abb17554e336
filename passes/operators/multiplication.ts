import type { ChannelTransform } from '../../ir/channel.ts';
import { isChannelVector, scalarOf } from '../../ir/constants.ts';
import { only } from '../../ir/freedom.ts';
import type { Graph, Node, Value } from '../../ir/graph.ts';
import { Div, Mul } from '../../ir/ops/generated.ts';
import { traitsOf } from '../../ir/ops/traits.ts';
import { isOutput } from '../../ir/pattern.ts';
import { constantLike, movedVector } from '../../ir/weights.ts';
import { encodeOperand } from './encode-operand.ts';
import type { OperatorRecord, Up } from './record.ts';

/** A product or quotient, by what a change of basis on its result meets. */
type Factors =
  /** A constant, one number or one for each channel, at operand `constant`. */
  | { readonly kind: 'constant'; readonly constant: number; readonly each: boolean; readonly other: number }
  /** Two values of all channels; a scale goes on to `carrier`, or nowhere. */
  | { readonly kind: 'gate'; readonly carrier: number | null };

function factorsOf(node: Node, size: number): Factors | null {
  // x / c has its constant behind.
  for (const constant of node.op === Mul.schema.op ? [1, 0] : [1]) {
    const v = node.input(constant);
    // One number for each token times one for each channel: the other operand does not have the channels of the result.
    const whole = node.input(1 - constant)?.type?.shape?.at(-1) === size;
    const each = isChannelVector(v, size) && size > 1 && whole;
    if (each || (whole && v?.constant && scalarOf(v) !== null && v.constant.shape.length <= 1))
      return { kind: 'constant', constant, each, other: 1 - constant };
  }
  const whole = node.op === Mul.schema.op && [0, 1].every((i) => node.input(i)?.type?.shape?.at(-1) === size);
  return whole ? { kind: 'gate', carrier: carrierOf(node) } : null;
}

/** Of the factors of a gated product, the one that is no function of another value and that nothing else reads: up, not silu(gate). */
function carrierOf(node: Node): number | null {
  const carries = (v: Value | null): boolean =>
    v?.producer?.op !== Mul.schema.op &&
    v?.producer != null &&
    traitsOf(v.producer.op).elementwise === undefined &&
    v.soleUse !== null &&
    !isOutput(v);
  const found = [0, 1].find((i) => carries(node.input(i)));
  return found ?? null;
}

const orderOf = (t: ChannelTransform): ChannelTransform => ({ ...t, scale: null, shift: null });

/** T(x c) = T(x) P(c), P being the order in T; and T(a b) = T(a) P(b). */
const up: Up = {
  freedom(node, size) {
    const factors = factorsOf(node, size);
    return factors && only(size, { perm: true, scale: factors.kind === 'constant' || factors.carrier !== null, shift: false });
  },
  onward(node, size) {
    const factors = factorsOf(node, size);
    if (factors?.kind !== 'gate') return [{ operand: factors?.other ?? 0 }];
    return [0, 1].map((operand) => (operand === factors.carrier ? { operand } : { operand, without: ['scale'] }));
  },
  absorb(graph, node, t) {
    const factors = factorsOf(node, t.size);
    if (factors?.kind === 'constant') return absorbBesideConstant(graph, node, t, factors);
    for (const operand of [0, 1]) {
      const part = operand === (factors?.carrier ?? null) ? t : orderOf(t);
      if (part.perm || part.scale) encodeOperand(graph, node, operand, part);
    }
  },
};

function absorbBesideConstant(
  graph: Graph,
  node: Node,
  t: ChannelTransform,
  { constant, each, other }: Extract<Factors, { readonly kind: 'constant' }>,
): void {
  const c = node.input(constant)!;
  if (each && t.perm) graph.setInput(node, constant, constantLike(graph, c, movedVector(orderOf(t), c.constant!)));
  encodeOperand(graph, node, other, t);
}

export const multiplications: readonly OperatorRecord[] = [Mul, Div].map(({ schema }) => ({
  op: schema.op,
  ...(schema.op === Mul.schema.op ? { roles: ['multiplication'] } : {}),
  tokenwise: true,
  up,
}));
