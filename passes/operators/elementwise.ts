import type { Capability } from '../../ir/channel.ts';
import { only } from '../../ir/freedom.ts';
import { operatorsWith, traitsOf, type Elementwise } from '../../ir/ops/traits.ts';
import { encodeOperand } from './encode-operand.ts';
import type { OperatorRecord, Up } from './record.ts';

/** What passes through a function of single elements: an order through every one, a scale through those that are homogeneous. */
const passing: Readonly<Record<Elementwise, Capability>> = {
  any: { perm: true, scale: false, shift: false },
  monotone: { perm: true, scale: false, shift: false },
  homogeneous: { perm: true, scale: 'positive', shift: false },
  linear: { perm: true, scale: true, shift: false },
};

/** T(f(x)) = f(T(x)), as far as `can` says. */
const through = (can: Capability): Up => ({
  freedom: (_, size) => only(size, can),
  onward: () => [{ operand: 0 }],
  absorb: (graph, node, t) => encodeOperand(graph, node, 0, t),
});

/** Functions of single elements. */
export const elementwise: readonly OperatorRecord[] = operatorsWith((t) => t.elementwise !== undefined).map((op) => ({
  op,
  tokenwise: true,
  up: through(passing[traitsOf(op).elementwise!]),
}));
