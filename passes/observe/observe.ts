import { string } from '../../ir/attributes.ts';
import { Observer } from '../../ir/ops/qc.ts';
import { create } from '../../ir/ops/view.ts';
import { observerOf, sites } from '../../ir/site.ts';
import { definePass } from '../infra/pass.ts';

/** Puts a `qc.Observer` in front of every site; calibration fills it. */
export const observe = definePass({
  name: 'observe',
  summary: 'put an observer in front of every site',
  contract: 'exact',
  needs: ['sites'],
  gives: ['observed'],
  run(graph, ctx) {
    for (const site of sites(graph)) {
      if (observerOf(site)) continue;
      const observer = create({ graph, before: site.node }, Observer, [site.x], { attributes: { key: string(site.key) } });
      graph.setInput(site.node, 0, observer.y);
      ctx.count('observers');
    }
  },
});
