import { Builder } from '../../ir/builder.ts';
import { transformAttributes, type ChannelTransform } from '../../ir/channel.ts';
import type { Graph, Node } from '../../ir/graph.ts';
import { Encode } from '../../ir/ops/qc.ts';

/** Puts Encode{t} in front of an operand. */
export function encodeOperand(graph: Graph, node: Node, index: number, t: ChannelTransform): void {
  const x = node.input(index)!;
  graph.setInput(node, index, Builder.before(node).make(Encode, { x }, { attributes: transformAttributes(t), like: x }).y);
}
