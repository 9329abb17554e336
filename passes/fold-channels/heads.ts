import type { Node } from '../../ir/graph.ts';
import { Attention } from '../../ir/ops/generated.ts';

export interface Heads {
  readonly queries: number;
  /** Heads of keys and values. */
  readonly keys: number;
  /** Query heads that share one head of keys and values. */
  readonly shared: number;
}

/**
 * The heads of an Attention on [batch, seq, heads * width] of `size` query channels, if a change of basis may pass it; null if not:
 * a cache, which is in the old basis, goes in or out, scores are given out, or heads have an axis of their own.
 */
export function headsOf(node: Node, size?: number): Heads | null {
  const view = new Attention(node);
  const [queries, keys] = [view.q_num_heads, view.kv_num_heads];
  const alone =
    !view.past_key && !view.past_value && node.outputs.slice(1).every((o) => o.uses.size === 0 && !node.graph?.outputs.includes(o));
  const whole = queries > 0 && keys > 0 && queries % keys === 0 && (size === undefined || size % queries === 0);
  return alone && whole ? { queries, keys, shared: queries / keys } : null;
}
