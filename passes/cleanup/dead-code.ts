import { eraseDead } from '../../ir/rewrite.ts';
import { definePass } from '../infra/pass.ts';

/** Erases nodes and constants that no graph output depends on. */
export const deadCode = definePass({
  name: 'dead-code',
  summary: 'erase what no output depends on',
  contract: 'exact',
  run(graph, ctx) {
    ctx.count('erased', eraseDead(graph));
  },
});
