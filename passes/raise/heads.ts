import type { Dim } from '../../ir/types.ts';

/** Heads and their width where [batch, seq, heads * width] becomes [batch, seq, heads, width]; null where it becomes something else. */
export function splitOf(from: readonly Dim[], to: readonly Dim[]): { readonly heads: number; readonly width: number } | null {
  const [batch, seq, heads, width] = to;
  if (to.length !== 4 || from.length !== 3 || typeof heads !== 'number' || typeof width !== 'number') return null;
  const sameTokens = (batch === from[0] || batch === null) && (seq === from[1] || seq === null || seq === -1);
  return sameTokens && from[2] === heads * width ? { heads, width } : null;
}
