import { isChannelVector } from '../../ir/constants.ts';
import { only } from '../../ir/freedom.ts';
import { RMSNormalization } from '../../ir/ops/generated.ts';
import { constantLike, movedVector } from '../../ir/weights.ts';
import type { OperatorRecord, Up } from './record.ts';

/** T(RMS(x; g)): only a scale enters g. */
const up: Up = {
  freedom: (node, size) => (isChannelVector(node.input(1), size) ? only(size, { perm: false, scale: true, shift: false }) : null),
  onward: () => [],
  givesBack: true,
  absorb(graph, node, t) {
    graph.setInput(node, 1, constantLike(graph, node.input(1)!, movedVector(t, node.input(1)!.constant!)));
  },
};

export const rmsNormalization: OperatorRecord = { op: RMSNormalization.schema.op, roles: ['norm'], tokenwise: true, up };
