import { only, type Freedom } from '../../ir/freedom.ts';
import type { Node } from '../../ir/graph.ts';
import { RotaryEmbedding } from '../../ir/ops/generated.ts';
import { encodeOperand } from './encode-operand.ts';
import type { OperatorRecord, Up } from './record.ts';

/** T(R(x)) = R(T(x)) for a scale that is the same for both channels of each pair, since a pair turns by itself. */
const up: Up = {
  freedom(node, size) {
    const leaders = pairs(node, size);
    return leaders && { ...only(size, { perm: false, scale: true, shift: false }), leaders };
  },
  onward: () => [{ operand: 0 }],
  absorb: (graph, node, t) => encodeOperand(graph, node, 0, t),
};

/** The first channel of each channel's pair: i and i + dim / 2 of a head, or neighbours. Null where heads are not known. */
function pairs(node: Node, size: number): Freedom['leaders'] {
  const view = new RotaryEmbedding(node);
  const rank = view.x.type?.shape?.length;
  const width = rank === 4 ? size : rank === 3 ? size / view.num_heads : 0;
  const dim = view.rotary_embedding_dim || width;
  if (width === 0 || !Number.isInteger(width)) return null;
  return Uint32Array.from({ length: size }, (_, i) => {
    const channel = i % width;
    if (channel >= dim) return i;
    if (view.interleaved !== 0) return i - (channel % 2);
    return channel < dim / 2 ? i : i - dim / 2;
  });
}

export const rotaryEmbedding: OperatorRecord = { op: RotaryEmbedding.schema.op, up };
