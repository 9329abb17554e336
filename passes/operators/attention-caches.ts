import { compose, inverse, transformAttributes, type ChannelTransform } from '../../ir/channel.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import { CacheBasis } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { isOutput, isRead } from '../../ir/pattern.ts';

/** Where a cache [batch, heads, seq, width] comes in and goes out; null for an end that is not there. */
export interface Ends {
  readonly past: Value | null;
  readonly present: Value | null;
}

/** The maps between a cache as the caller has it and as an attention reads it, and back; null where it may not change its basis. */
interface OpenCache {
  readonly into: CacheBasis;
  readonly back: CacheBasis;
}

function openCache({ past, present }: Ends): OpenCache | null {
  const into = past?.uses.size === 1 ? viewAs(CacheBasis, past.producer) : null;
  const back = viewAs(CacheBasis, present?.soleUse?.node ?? null);
  return into && back && !isOutput(present!) ? { into, back } : null;
}

/** Whether what goes into a cache may change its basis: there is none, or it may change with that. */
export const mayMove = (ends: Ends): boolean => (ends.past === null && !isRead(ends.present)) || openCache(ends) !== null;

/**
 * Whether every token of a cache was put there by the model. A cache of a fixed number of tokens has some that nobody filled: 0 is 0 under
 * an order and a scale, but not under a shift.
 */
export const isFilled = ({ past }: Ends): boolean => typeof past?.type?.shape?.[2] !== 'number';

/** Has an open cache lie in another basis, as the tokens do that go into it: T behind what comes in, its inverse before what goes out. */
export function moveCache(graph: Graph, ends: Ends, t: ChannelTransform): void {
  const open = openCache(ends);
  if (!open) return;
  setTransform(graph, open.into, compose(open.into.transform, t));
  setTransform(graph, open.back, compose(inverse(t), open.back.transform));
}

const setTransform = (graph: Graph, { node }: CacheBasis, t: ChannelTransform): void => graph.setAttributes(node, transformAttributes(t));
