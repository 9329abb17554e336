import { string } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { Observer } from '../../ir/ops/qc.ts';
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
      const details = { attributes: { key: string(site.key) }, like: site.x };
      const observer = Builder.before(site.node).make(Observer, { x: site.x }, details);
      graph.setInput(site.node, 0, observer.y);
      ctx.count('observers');
    }
  },
});
