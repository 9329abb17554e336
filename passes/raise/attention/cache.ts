import { int } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import { integersOf } from '../../../ir/constants.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { Add, Concat, Gather, Shape } from '../../../ir/ops/generated.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import type { RewriteRule } from '../../../ir/rewrite.ts';
import { tensorType } from '../../../ir/types.ts';

/** Keys or values [batch, heads, past + seq, width] of a cache and of new tokens, which are the next cache. */
export interface Cached {
  readonly past: Value;
  readonly fresh: Value;
  readonly present: Value;
}

/** Concat(past, fresh) along the tokens. */
export function cacheOf(v: Value): Cached | null {
  const concat = viewAs(Concat, v.producer);
  const [past, fresh, ...more] = concat?.inputs ?? [];
  const tokens = concat?.axis === 2 || concat?.axis === -2;
  return past && fresh && more.length === 0 && tokens && v.type?.shape?.length === 4 ? { past, fresh, present: v } : null;
}

/** Whether computing any of some values needs one of `nodes`. */
export function need(values: readonly Value[], nodes: ReadonlySet<Node>): boolean {
  const seen = new Set<Node>();
  const open = values.flatMap((v) => v.producer ?? []);
  for (let node = open.pop(); node; node = open.pop()) {
    if (nodes.has(node)) return true;
    if (seen.has(node)) continue;
    seen.add(node);
    open.push(...node.operands.flatMap((u) => u.value?.producer ?? []));
  }
  return false;
}

/** Who reads `from` behind `node` reads `to`, which `node` makes, and so does the caller of the graph. */
export function handOver(graph: Graph, from: Value, to: Value, node: Node): void {
  const later = new Set<Node>();
  for (let at = node.next; at; at = at.next) later.add(at);
  for (const use of [...from.uses]) if (later.has(use.node)) graph.setInput(use.node, use.index, to);
  if (graph.outputs.includes(from)) graph.replaceOutput(from, to);
}

/** An extent of Concat(past, fresh) from those of its parts: what masks are computed from must not need the cache that Attention makes. */
export const cacheExtents: RewriteRule = {
  name: 'extent-before-cache',
  apply(node, graph) {
    const gather = viewAs(Gather, node);
    const shape = viewAs(Shape, gather?.data.producer ?? null);
    const cached = shape && cacheOf(shape.data);
    const index = integersOf(gather?.indices ?? null);
    if (!gather || !cached || index?.length !== 1 || shape.node.attributes.has('start') || shape.node.attributes.has('end'))
      return 'no-match';
    const build = Builder.before(node);
    const { output, indices } = gather;
    const details = { attributes: { axis: int(0) }, like: output };
    const [past, fresh] = [cached.past, cached.fresh].map((data): Value => {
      const extents = build.make(Shape, { data }, { like: output, type: tensorType('i64', [4]) }).shape;
      return build.make(Gather, { data: extents, indices }, details).output;
    }) as [Value, Value];
    const joined = index[0] === 2 || index[0] === -2;
    graph.replaceUses(output, joined ? build.make(Add, { a: past, b: fresh }, { like: output }).c : past);
    return 'applied';
  },
};
