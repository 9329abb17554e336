import { int } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import type { Value } from '../../../ir/graph.ts';
import { Attention } from '../../../ir/ops/generated.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import type { RewriteRule } from '../../../ir/rewrite.ts';
import { multiply } from '../../../ir/shapes/dims.ts';
import { tensorType } from '../../../ir/types.ts';
import { headsOf, toHeads, toTokens } from './heads.ts';
import { unrepeated } from './repeat.ts';

/** Attention on [batch, heads, seq, width] = Attention on [batch, seq, heads * width], whose result is split into heads again. */
export const attentionOfTokens: RewriteRule = {
  name: 'attend-tokens',
  apply(node, graph) {
    const view = viewAs(Attention, node);
    const operands = view && operandsOf(view);
    const [q, k, v] = (operands ?? []).map(headsOf);
    if (!view || !operands || !q || !k || !v) return 'no-match';
    const build = Builder.before(node);
    const inputs = [...operands.map((x) => toTokens(build, x)), ...node.operands.slice(3).map((u) => u.value)];
    const attributes = { ...Object.fromEntries(node.attributes), q_num_heads: int(q.heads), kv_num_heads: int(k.heads) };
    const type = tensorType(view.q.type!.dtype, [q.batch, q.seq, multiply(q.heads, v.width)]);
    const results = node.outputs.map((o, i) => ({ name: graph.freshName(`${o.name}.${i}`), type: i === 0 ? type : o.type }));
    const made = build.insert({ op: node.op, inputs, attributes, name: node.name, results });
    const [y, ...others] = made.outputs;
    others.forEach((o, i) => graph.replace(node.outputs[i + 1]!, o));
    graph.replace(node.output, toHeads(build, y!, q.heads));
    return 'applied';
  },
};

/** Query, keys and values, these without their repetition where both have the same and no cache has it, too. */
function operandsOf({ q, k, v, past_key }: Attention): readonly [Value, Value, Value] {
  const [key, value] = [unrepeated(k), unrepeated(v)];
  return past_key === null && headsOf(key)?.heads === headsOf(value)?.heads ? [q, key, value] : [q, k, v];
}
