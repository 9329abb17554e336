import type { Node } from '../../ir/graph.ts';
import { traitsOf } from '../../ir/ops/traits.ts';
import { eraseDead } from '../../ir/rewrite.ts';
import { extract, sliceOf } from '../../ir/slice.ts';
import { inMemory } from '../../ir/tensor.ts';
import { sizeOf } from '../../ir/types.ts';
import { int } from '../infra/options.ts';
import { definePass } from '../infra/pass.ts';
import { runOnce } from '../infra/executor.ts';

/** Computes what depends on constants alone, in ONNX Runtime, and keeps results that are small. */
export const foldConstants = definePass({
  name: 'fold-constants',
  summary: 'compute what depends on constants alone',
  contract: 'exact',
  options: { limit: int('largest result that is kept, in elements', 65536, 1) },
  async run(graph, ctx, { limit }) {
    const constant = constantNodes([...graph.nodes]);
    if (constant.length === 0) return;
    const slice = sliceOf(graph, constant);
    const wanted = slice.outputs.filter((v) => !graph.outputs.includes(v));
    if (wanted.length === 0) return;
    const results = await runOnce(ctx.services.executor, extract('constants', slice, wanted).graph, {});
    for (const value of wanted) {
      const result = results[value.name];
      if (!result || sizeOf(result.shape) > limit) continue;
      graph.replaceUses(value, graph.addConstant(graph.freshName(value.name), inMemory(result.dtype, result.shape, result.data)));
      ctx.count('folded');
    }
    eraseDead(graph);
  },
});

/** Standard nodes all of whose operands are constants, directly or through such nodes; weights of matrices do not count. */
function constantNodes(nodes: readonly Node[]): readonly Node[] {
  const found = new Set<Node>();
  for (const node of nodes) {
    const foldable = !node.op.includes('.') && !traitsOf(node.op).random && node.bodies.length === 0 && node.op !== 'Identity';
    const known = node.operands.every(
      ({ value }) =>
        !value || (value.constant ? sizeOf(value.constant.shape) <= 65536 : value.producer !== null && found.has(value.producer)),
    );
    if (foldable && known && node.outputs.length > 0) found.add(node);
  }
  return [...found];
}
