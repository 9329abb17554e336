import { isIdentity } from '../../ir/channel.ts';
import type { Graph } from '../../ir/graph.ts';
import { CacheBasis } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { nameOf } from '../infra/ledger.ts';
import { definePass } from '../infra/pass.ts';
import { attentionsOf, cachesIn } from '../model/attentions.ts';
import { recordCache } from './cache-metadata.ts';

/**
 * Gives caches out, and takes them, in the basis that they have inside. The metadata of the model says so of those that changed. A model that
 * carries its caches from step to step computes what it did; a cache that was filled before does not fit any more.
 */
export const closeCaches = definePass({
  name: 'close-caches',
  summary: 'leave caches in the basis that they have, and say so in the metadata of the model',
  // Caches at the boundary differ, so that nothing is compared across this pass.
  contract: 'approximate',
  run(graph, ctx) {
    for (const node of attentionsOf(graph)) {
      const moved = cachesIn(node).filter(({ past, present }) => {
        const [into, back] = [viewAs(CacheBasis, past.producer), viewAs(CacheBasis, present?.soleUse?.node ?? null)];
        return into !== null && back !== null && close(graph, into, back);
      });
      if (moved.length === 0) continue;
      ctx.count('moved', moved.length);
      ctx.ledger.done('attention', nameOf(node), 'its caches lie in another basis');
    }
  },
});

/** Whether the cache has another basis now. */
function close(graph: Graph, into: CacheBasis, back: CacheBasis): boolean {
  const { transform } = into;
  const moved = !isIdentity(transform);
  if (moved) recordCache(graph, { past: into.x.name, present: back.y.name, transform });
  for (const { x, y, node } of [into, back]) {
    graph.replaceUses(y, x);
    graph.erase(node);
  }
  return moved;
}
