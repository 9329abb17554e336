import { identity, sideBySide } from '../../ir/channel.ts';
import { free } from '../../ir/freedom.ts';
import type { Node } from '../../ir/graph.ts';
import { Split } from '../../ir/ops/generated.ts';
import { encodeOperand } from './encode-operand.ts';
import type { OperatorRecord, Up } from './record.ts';

/** Channels of an operand that one result has. */
interface Part {
  readonly start: number;
  readonly size: number;
  readonly of: number;
}

/** The part that a result of a Split of channels is; null where the axis is another one, or extents are unknown. */
function partOf(node: Node, output: number): Part | null {
  const shape = node.input(0)?.type?.shape;
  const { axis } = new Split(node);
  const sizes = node.outputs.map((v) => v.type?.shape?.at(-1));
  const known = sizes.every((n) => typeof n === 'number');
  if (!shape || (axis !== -1 && axis !== shape.length - 1) || !known || typeof shape.at(-1) !== 'number') return null;
  const before = sizes.slice(0, output).reduce<number>((a, b) => a + Number(b), 0);
  return { start: before, size: Number(sizes[output]), of: Number(shape.at(-1)) };
}

/** T on one part of the channels is T beside the identity on the others. */
const up: Up = {
  freedom: (node, size, output) => (partOf(node, output)?.size === size ? free(size) : null),
  onward: (node, _, output) => [{ operand: 0, channels: partOf(node, output)?.of ?? 0 }],
  absorb(graph, node, t, output) {
    const { start, size, of } = partOf(node, output)!;
    encodeOperand(graph, node, 0, sideBySide([identity(start), t, identity(of - start - size)]));
  },
};

/** Packed projections: query, key and value, or gate and up. */
export const split: OperatorRecord = { op: Split.schema.op, up };
