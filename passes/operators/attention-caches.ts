import { compose, inverse, transformAttributes, type ChannelTransform } from '../../ir/channel.ts';
import type { Graph, Node, Value } from '../../ir/graph.ts';
import { Attention } from '../../ir/ops/generated.ts';
import { CacheBasis } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { isOutput, isRead } from '../../ir/pattern.ts';
import type { CacheEnds } from './record.ts';

/** What an Attention keeps for later tokens. */
export type Cached = 'key' | 'value';

/** The caches that come in, of keys and of values. */
export const caches = (node: Node): readonly CacheEnds[] =>
  both.flatMap((which) => {
    const { past, present } = ends(node, which);
    return past ? [{ operand: operands[which], past, present }] : [];
  });

const both = ['key', 'value'] as const;
const operands = { key: 4, value: 5 } as const;

function ends(node: Node, which: Cached): { readonly past: Value | null; readonly present: Value | null } {
  const { past_key, past_value, present_key, present_value } = new Attention(node);
  return which === 'key' ? { past: past_key, present: present_key } : { past: past_value, present: present_value };
}

/** The maps between a cache as the caller has it and as the attention reads it, and back; null where it may not change its basis. */
interface OpenCache {
  readonly into: CacheBasis;
  readonly back: CacheBasis;
}

function openCache(node: Node, which: Cached): OpenCache | null {
  const { past, present } = ends(node, which);
  const into = past?.uses.size === 1 ? viewAs(CacheBasis, past.producer) : null;
  const back = viewAs(CacheBasis, present?.soleUse?.node ?? null);
  return into && back && !isOutput(present!) ? { into, back } : null;
}

/** Whether keys and values may change their basis: there is no cache, or both may change with them. */
export const mayMove = (node: Node): boolean =>
  both.every((which) => {
    const { past, present } = ends(node, which);
    return (past === null && !isRead(present)) || openCache(node, which) !== null;
  });

/**
 * Whether every token of a cache was put there by the model. A cache of a fixed number of tokens has some that nobody filled: 0 is 0 under
 * an order and a scale, but not under a shift.
 */
export const isFilled = (node: Node, which: Cached): boolean => typeof ends(node, which).past?.type?.shape?.[2] !== 'number';

/** Has an open cache lie in another basis, as the tokens do that go into it: T behind what comes in, its inverse before what goes out. */
export function moveCache(graph: Graph, node: Node, which: Cached, t: ChannelTransform): void {
  const open = openCache(node, which);
  if (!open) return;
  setTransform(graph, open.into, compose(open.into.transform, t));
  setTransform(graph, open.back, compose(inverse(t), open.back.transform));
}

const setTransform = (graph: Graph, { node }: CacheBasis, t: ChannelTransform): void => graph.setAttributes(node, transformAttributes(t));
