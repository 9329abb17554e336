import { linearPart } from '../../ir/channel.ts';
import { isChannelVector } from '../../ir/constants.ts';
import { only } from '../../ir/freedom.ts';
import { Add, Sub } from '../../ir/ops/generated.ts';
import { constantLike, movedVector } from '../../ir/weights.ts';
import { encodeOperand } from './encode-operand.ts';
import type { OperatorRecord, Up } from './record.ts';

/** T(x + b) = L(x) + T(b), L being T without its shift. */
const up: Up = {
  freedom(node, size) {
    // One number for each token has no channels that could move.
    const whole = size === 1 || node.input(0)?.type?.shape?.at(-1) !== 1;
    return whole && isChannelVector(node.input(1), size) ? only(size, { perm: true, scale: true, shift: true }) : null;
  },
  onward: () => [{ operand: 0, without: ['shift'] }],
  absorb(graph, node, t) {
    graph.setInput(node, 1, constantLike(graph, node.input(1)!, movedVector(t, node.input(1)!.constant!)));
    encodeOperand(graph, node, 0, linearPart(t));
  },
};

export const add: OperatorRecord = { op: Add.schema.op, roles: ['sum'], tokenwise: true, up };

export const subtraction: OperatorRecord = { op: Sub.schema.op, tokenwise: true };
