import { isChannelVector } from '../../ir/constants.ts';
import type { Node } from '../../ir/graph.ts';
import { Add } from '../../ir/ops/generated.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { isOutput } from '../../ir/pattern.ts';

/** The Add with a constant for each channel that alone reads the product. */
export function biasOf(node: Node, columns: number): Add | null {
  const add = isOutput(node.output) ? null : viewAs(Add, node.output.soleUse?.node ?? null);
  return add && add.a === node.output && isChannelVector(add.b, columns) ? add : null;
}
