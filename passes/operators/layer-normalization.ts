import { linearPart } from '../../ir/channel.ts';
import { isChannelVector } from '../../ir/constants.ts';
import { only } from '../../ir/freedom.ts';
import { LayerNormalization } from '../../ir/ops/generated.ts';
import { constantLike, movedVector } from '../../ir/weights.ts';
import type { OperatorRecord, Up } from './record.ts';

/** T(LN(x; g, b)): scale and shift enter g and b. An order does not: LN reads x in its own. */
const up: Up = {
  freedom: (node, size) =>
    isChannelVector(node.input(1), size) ? only(size, { perm: false, scale: true, shift: isChannelVector(node.input(2), size) }) : null,
  onward: () => [],
  givesBack: true,
  absorb(graph, node, t) {
    const gain = node.input(1)!;
    const bias = node.input(2);
    graph.setInput(node, 1, constantLike(graph, gain, movedVector(linearPart(t), gain.constant!)));
    if (bias) graph.setInput(node, 2, constantLike(graph, bias, movedVector(t, bias.constant!)));
  },
};

export const layerNormalization: OperatorRecord = { op: LayerNormalization.schema.op, roles: ['norm'], tokenwise: true, up };
