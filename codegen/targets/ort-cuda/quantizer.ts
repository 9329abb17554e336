import type { Node, Value } from '../../../ir/graph.ts';
import { DynamicQuantize, FakeQuantize } from '../../../ir/ops/qc.ts';
import { quantizedWeight } from '../quantized.ts';

export const quantizers: readonly string[] = [FakeQuantize.schema.op, DynamicQuantize.schema.op];

/** What quantizes an activation; null where it is not quantized. */
export function quantizerOf(x: Value | null): Node | null {
  const node = x?.producer ?? null;
  return node && quantizers.includes(node.op) && !quantizedWeight(node.output) ? node : null;
}
