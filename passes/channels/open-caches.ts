import { Builder } from '../../ir/builder.ts';
import { identity, transformAttributes } from '../../ir/channel.ts';
import type { Graph, Node, Value } from '../../ir/graph.ts';
import { traitsOf } from '../../ir/ops/traits.ts';
import { CacheBasis } from '../../ir/ops/qc.ts';
import { isOutput, refuse, type Refusal } from '../../ir/pattern.ts';
import { inferTypes } from '../../ir/shapes/infer.ts';
import { refusedAt } from '../infra/ledger.ts';
import { definePass } from '../infra/pass.ts';
import { attentionRoles, attentionsOf, cachesIn } from '../model/attentions.ts';
import { recordOf, type CacheEnds } from '../operators/index.ts';

/**
 * Lets caches change their basis: what an attention gives out as the next cache goes nowhere but into it again, so it may lie there in the
 * basis in which keys and values are quantized. Until `close-caches`, the graph has its caches at its boundary as they were.
 */
export const openCaches = definePass({
  name: 'open-caches',
  summary: 'let keys and values in caches lie in the basis in which they are quantized',
  contract: 'exact',
  needs: ['raised'],
  run(graph, ctx) {
    inferTypes(graph);
    const filler = filledElsewhere(graph);
    const refused = attentionsOf(graph).flatMap((node) => {
      const ends = cachesIn(node);
      const why = ends.length === 0 ? null : (filler ?? ends.map((e) => whyKept(graph, e)).find((w) => w !== null));
      if (why) return [refusedAt(node, 'open-caches', why)];
      for (const end of ends) open(graph, node, end);
      ctx.count('caches', ends.length);
      return [];
    });
    ctx.ledger.refuse('open-caches', refused);
  },
});

function open(graph: Graph, node: Node, { operand, past, present }: CacheEnds): void {
  const size = sizeOf(past)!;
  const same = transformAttributes(identity(size));
  graph.setInput(node, operand, Builder.before(node).make(CacheBasis, { x: past }, { attributes: same, like: past }).y);
  const back = Builder.behind(graph, present!).make(CacheBasis, { x: present! }, { attributes: same, like: present! });
  graph.replaceUses(present!, back.y, back.node);
}

/** Channels of a token in a cache [batch, heads, seq, width]; null where they are unknown. */
function sizeOf({ type }: Value): number | null {
  const [, heads, , width] = type?.shape?.length === 4 ? type.shape : [];
  return typeof heads === 'number' && typeof width === 'number' ? heads * width : null;
}

/** Why a cache must keep its basis; null where it goes from an input of the graph to an output, and nothing else reads it. */
function whyKept(graph: Graph, { past, present }: CacheEnds): Refusal | null {
  if (!graph.inputs.includes(past)) return refuse('the cache is no input of the graph as it stands', past);
  if (isReadBy(past, 1)) return refuse('something else reads the cache', past);
  if (sizeOf(past) === null) return refuse('heads of the cache and their width are unknown', past);
  if (!present || !isOutput(present)) return refuse('the next cache is no output of the graph', present ?? past);
  return isReadBy(present, 0) ? refuse('something else reads the next cache', present) : null;
}

/** Whether more than `expected` uses of a value read its elements. */
const isReadBy = (v: Value, expected: number): boolean => [...v.uses].filter((u) => !recordOf(u.node).readsExtents).length > expected;

/**
 * Keys or values that come in and do not go out again are those of an encoder, which another model computed. The decoder's own caches begin
 * in that model too.
 */
function filledElsewhere(graph: Graph): Refusal | null {
  for (const node of attentionsOf(graph)) {
    const operand = attentionRoles.map((role, i) => (role === 'query' ? null : node.input(i))).find((v) => v !== null && comesIn(graph, v));
    if (operand) return refuse('the model reads keys or values that it does not give out, so another model fills its caches', operand);
  }
  return null;
}

function comesIn(graph: Graph, v: Value): boolean {
  if (graph.inputs.includes(v)) return true;
  const { producer } = v;
  const { holds, marks } = traitsOf(producer?.op ?? '');
  return (holds !== undefined || marks === true) && comesIn(graph, producer!.input(0)!);
}
