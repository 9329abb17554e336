import type { Graph, Node, Value } from '../../ir/graph.ts';
import type { Role } from '../../ir/ops/qc.ts';
import { hasRole, recordOf, type CacheEnds, type Heads } from '../operators/index.ts';

export const isAttention = (node: Node | null): boolean => hasRole(node, 'attention');

/** The attentions of a graph, in order. */
export const attentionsOf = (graph: Graph): readonly Node[] => [...graph.nodes].filter(isAttention);

/** The attentions that read keys and values of tokens before: their caches. */
export const cachesOf = (graph: Graph): readonly Node[] => attentionsOf(graph).filter((node) => cachesIn(node).length > 0);

/** Where the caches of an attention come in and go out; none for one without caches. */
export const cachesIn = (attention: Node): readonly CacheEnds[] => recordOf(attention).caches?.(attention) ?? [];

/** What the first operands of an attention are to it. */
export const attentionRoles: readonly Role[] = ['query', 'key', 'value'];

/** The heads of an attention, if a change of basis on `size` query channels may pass it; null if not. */
export const headsOf = (attention: Node, size?: number): Heads | null => recordOf(attention).heads?.(attention, size) ?? null;

/** The attention that a value feeds as query, key or value, behind a bias and sites; null if none. */
export function attentionFed(value: Value): Node | null {
  const use = value.soleUse;
  if (!use) return null;
  if (isAttention(use.node) && use.index < attentionRoles.length) return use.node;
  return hasRole(use.node, 'sum') || hasRole(use.node, 'marker') ? attentionFed(use.node.output) : null;
}

/** The attention whose result a value is, behind sites; null if none. */
export function attentionResult(value: Value): Node | null {
  const node = value.producer;
  if (node === null || isAttention(node)) return node;
  return hasRole(node, 'marker') ? attentionResult(node.input(0)!) : null;
}
