import type { Graph, Node } from '../../ir/graph.ts';
import { Decode, Encode } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { nameOf } from './nodes.ts';

/** A channel transform that no weight, norm or kernel took: it becomes a Gather, a Mul and an Add, as far as it has these parts. */
export interface LeftTransform {
  readonly node: Node;
  /** The name of the node before it was lowered. */
  readonly name: string;
  readonly operators: readonly ('Gather' | 'Mul' | 'Add')[];
  readonly side: 'behind' | 'in front of';
  /** The node that could not take it; null for an input or output of the graph. */
  readonly neighbour: Node | null;
}

/** The Encodes and Decodes of a graph. */
export function leftTransforms(graph: Graph): readonly LeftTransform[] {
  return [...graph.nodes].flatMap((node) => {
    const view = viewAs(Encode, node) ?? viewAs(Decode, node);
    if (!view) return [];
    const { perm, scale, shift } = view.transform;
    const operators = [perm && ('Gather' as const), scale && ('Mul' as const), shift && ('Add' as const)].filter((o) => o !== null);
    const above = node.op === Encode.schema.op;
    const neighbour = above ? view.x.producer : (view.y.uses.values().next().value?.node ?? null);
    return [{ node, name: nameOf(node), operators, side: above ? ('behind' as const) : ('in front of' as const), neighbour }];
  });
}
