import { permAt, type ChannelTransform } from '../../ir/channel.ts';
import { Builder } from '../../ir/builder.ts';
import { int } from '../../ir/attributes.ts';
import { integersOf } from '../../ir/constants.ts';
import { only } from '../../ir/freedom.ts';
import type { Graph, Node, Value } from '../../ir/graph.ts';
import { Gather, RotaryEmbedding } from '../../ir/ops/generated.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { encodeOperand } from './encode-operand.ts';
import type { OperatorRecord, Up } from './record.ts';

/**
 * T(R(x)) = R(T(x)) for a scale that is the same for both channels of each pair, since a pair turns by itself. An order of whole pairs, the
 * same in every head, takes the columns of the tables of angles along.
 */
const up: Up = {
  freedom(node, size) {
    const found = headsOf(node, size);
    if (!found) return null;
    const of = (f: (place: Place, i: number) => number) => Uint32Array.from({ length: size }, (_, i) => f(placeOf(found, i), i));
    return {
      ...only(size, { perm: true, scale: true, shift: false }),
      // Either half of the pairs of a head, and what does not turn.
      cells: of(({ head, half }) => 3 * head + (half ?? 2)),
      leaders: of(({ head, pair }, i) => (pair === null ? i : head * found.width + channelOf(found, pair))),
      orderLeaders: of(({ pair }, i) => (pair === null ? i : channelOf(found, pair))),
    };
  },
  onward: () => [{ operand: 0 }],
  absorb(graph, node, t) {
    const found = headsOf(node, t.size)!;
    const order = pairOrder(found, t);
    encodeOperand(graph, node, 0, t);
    if (order.some((pair, j) => pair !== j))
      for (const operand of [1, 2]) graph.setInput(node, operand, columnsOf(graph, node.input(operand)!, order));
  },
};

interface Turned {
  /** Channels of a head. */
  readonly width: number;
  /** The first of them, which turn. */
  readonly dim: number;
  /** Whether neighbours are pairs, or channels that lie half of `dim` apart. */
  readonly interleaved: boolean;
}

/** Null where heads are not known. */
function headsOf(node: Node, size: number): Turned | null {
  const view = new RotaryEmbedding(node);
  const rank = view.x.type?.shape?.length;
  const width = rank === 4 ? size : rank === 3 ? size / view.num_heads : 0;
  if (width === 0 || !Number.isInteger(width)) return null;
  return { width, dim: view.rotary_embedding_dim || width, interleaved: view.interleaved !== 0 };
}

/** Where a channel is: its head, its pair and which of the two it is; null for one that does not turn. */
interface Place {
  readonly head: number;
  readonly pair: number | null;
  readonly half: 0 | 1 | null;
}

function placeOf({ width, dim, interleaved }: Turned, i: number): Place {
  const [head, channel] = [Math.floor(i / width), i % width];
  if (channel >= dim) return { head, pair: null, half: null };
  const second = interleaved ? channel % 2 : Math.floor((2 * channel) / dim);
  return { head, pair: interleaved ? (channel - second) / 2 : channel - (second * dim) / 2, half: second === 0 ? 0 : 1 };
}

/** The first channel of a pair in its head. */
const channelOf = ({ interleaved }: Turned, pair: number): number => (interleaved ? 2 * pair : pair);

/** The order of pairs in an order of channels that moves whole pairs alike in all heads. */
const pairOrder = (heads: Turned, t: ChannelTransform): readonly number[] =>
  Array.from({ length: heads.dim / 2 }, (_, pair) => placeOf(heads, permAt(t, channelOf(heads, pair))).pair!);

/** A table of angles with its columns in another order, one for all that want the same; ONNX Runtime computes that of a constant once. */
function columnsOf(graph: Graph, table: Value, order: readonly number[]): Value {
  const isSame = (gather: Gather | null): boolean =>
    gather?.data === table && gather.axis === -1 && integersOf(gather.indices)?.join() === order.join();
  const known = [...table.uses].map((u) => viewAs(Gather, u.node)).find(isSame);
  if (known) return known.output;
  const build = Builder.behind(graph, table, table.name);
  return build.make(Gather, { data: table, indices: build.ints('order', order) }, { attributes: { axis: int(-1) }, like: table }).output;
}

export const rotaryEmbedding: OperatorRecord = { op: RotaryEmbedding.schema.op, up };
