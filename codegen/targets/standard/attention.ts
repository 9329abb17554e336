import { int, ints } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import { fail } from '../../../ir/diagnostics.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { Attention } from '../../../ir/ops/generated.ts';
import { int64s, scalar } from '../../../ir/tensor.ts';

/** Every Attention that is no more than its primitives as these, for opsets before 23. */
export function lowerAttentions(graph: Graph): void {
  for (const node of [...graph.nodes]) if (node.op === Attention.schema.op) lowerAttention(graph, node);
}

/** Attention [batch, seq, heads * width] in Reshape, Transpose, MatMul and Softmax. */
function lowerAttention(graph: Graph, node: Node): void {
  const view = new Attention(node);
  const plain =
    !view.past_key &&
    !view.past_value &&
    node.outputs.slice(1).every((o) => o.uses.size === 0 && !graph.outputs.includes(o)) &&
    view.is_causal === 0 &&
    view.softcap === 0;
  const heads = view.q_num_heads;
  if (!plain || heads === 0 || heads !== view.kv_num_heads) return;
  const build = Builder.before(node, node.output.name);
  const width = (v: Value): number => {
    const channels = v.type?.shape?.at(-1);
    return typeof channels === 'number' ? channels / heads : fail('QC4001', `%${v.name} has an unknown number of channels`, node.loc);
  };
  const split = (v: Value, perm: readonly number[]) =>
    build.value('Transpose', [build.value('Reshape', [v, build.constant('heads', int64s([4], [0, 0, heads, width(v)]))])], {
      perm: ints(perm),
    });
  const factor = view.node.attributes.has('scale') ? view.scale : 1 / Math.sqrt(width(view.q));
  const query = factor === 1 ? view.q : build.value('Mul', [view.q, build.constant('factor', scalar(factor))], {}, view.q.type);
  const scores = build.value('MatMul', [split(query, [0, 2, 1, 3]), split(view.k, [0, 2, 3, 1])]);
  const masked = view.attn_mask ? build.value('Add', [scores, view.attn_mask]) : scores;
  const context = build.value('MatMul', [build.value('Softmax', [masked], { axis: int(-1) }), split(view.v, [0, 2, 1, 3])]);
  const merged = build.value('Transpose', [context], { perm: ints([0, 2, 1, 3]) });
  graph.replace(
    view.y,
    build.value('Reshape', [merged, build.constant('merged', int64s([3], [0, 0, heads * width(view.v)]))], {}, view.y.type),
  );
  graph.erase(node);
}
