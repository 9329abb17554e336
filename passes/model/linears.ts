import { isMatrix } from '../../ir/constants.ts';
import type { Graph, Node, Value } from '../../ir/graph.ts';
import { Transpose } from '../../ir/ops/generated.ts';
import { FakeQuantize } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { hasRole, recordOf } from '../operators/index.ts';

/** A product with a constant weight: x [.., in] times W [in, out]. */
export interface Linear {
  readonly node: Node;
  readonly input: Value;
  readonly weight: Value;
}

/**
 * The weight of a product: the constant itself, or the constant that it quantizes. A weight of one row is none: it sums nothing, so codes
 * gain nothing, and what exporters multiply so are positions with the frequencies of a rotary embedding, which must be exact.
 */
export function weightOf(node: Node): Value | null {
  const b = hasRole(node, 'linear') ? node.input(1) : null;
  const constant = viewAs(FakeQuantize, b?.producer ?? null)?.x ?? b;
  return isMatrix(constant) && constant!.constant!.shape[0] !== 1 ? constant : null;
}

/** The products with constant weights, in order. */
export function linearsOf(graph: Graph): readonly Linear[] {
  return [...graph.nodes].flatMap((node) => {
    const weight = weightOf(node);
    return weight ? { node, input: node.input(0)!, weight } : [];
  });
}

/** Why heads are passed over. */
export const headInFloat = 'a head stays in float (mark-sites{head} quantizes it if its weight is its own)';

/** Why a product with a constant weight is no linear that passes know; null for one that is, and for all other nodes. */
export function productLeft(node: Node): string | null {
  if (weightOf(node)) return null;
  if (hasRole(node, 'linear') && isTied(node)) return headInFloat;
  const constant = node.operands.flatMap((u) => u.value?.constant ?? []).find((t) => t.shape.length >= 2);
  return constant ? (recordOf(node).productLeft?.(node, constant) ?? null) : null;
}

/** A product with the transposed embedding table, which tie-weights stores once. */
const isTied = (node: Node): boolean => viewAs(Transpose, node.input(1)?.producer ?? null)?.data.constant != null;
