import type { Node } from '../../ir/graph.ts';
import type { Refusal } from '../../ir/pattern.ts';
import { eraseDead, rewriteToFixpoint, type RewriteRule } from '../../ir/rewrite.ts';
import { inferTypes } from '../../ir/shapes/infer.ts';
import { refusedAt } from '../infra/ledger.ts';
import { definePass } from '../infra/pass.ts';
import { attention } from './attention/attention.ts';
import { attentionOfTokens } from './attention/of-tokens.ts';
import { cacheExtents } from './attention/cache.ts';
import { foldBranches } from './branches/known-condition.ts';
import { mergeBranches } from './branches/merge-branches.ts';
import { beforeTranspose } from './before-transpose.ts';
import { einsum } from './einsum.ts';
import { foldedAxes } from './folded-axes.ts';
import { fusedEmbeddings } from './fused/embedding.ts';
import { fusedRules } from './fused/index.ts';
import { fusedNorms } from './fused/norms.ts';
import { gelus } from './gelu.ts';
import { identities } from './identities.ts';
import { islands } from './islands.ts';
import { layerNorms } from './layer-norm.ts';
import { layouts } from './layout.ts';
import { linears } from './linear.ts';
import { normInParts } from './norm-in-parts.ts';
import { foldExtents, foldNumbers } from './numbers.ts';
import { packedProjection } from './packed.ts';
import { rmsNorms } from './rms-norm.ts';
import { rotaryEmbeddings } from './rotary-embedding.ts';

const norms: readonly RewriteRule[] = [...layerNorms, ...rmsNorms, normInParts];
const normRules = new Set([...norms, ...fusedNorms, ...fusedEmbeddings].map((r) => r.name));

const parts: readonly RewriteRule[] = [
  ...identities,
  ...fusedRules,
  foldNumbers,
  ...layouts,
  ...foldedAxes,
  ...norms,
  ...gelus,
  ...rotaryEmbeddings,
  einsum,
  ...linears,
  packedProjection,
  ...islands,
];

/**
 * In rounds. Cuts are moved when rotary embeddings are found, whose halves are cuts, too. Attention is recognised by the shapes and operators
 * that the rounds before leave, and turns what it reads and gives in a way that the last round finds to undo what the exporter did.
 */
const rounds: readonly (readonly RewriteRule[])[] = [
  [mergeBranches],
  parts,
  [...beforeTranspose, ...parts],
  [cacheExtents, attention, attentionOfTokens],
  parts,
];

/** Turns exporters' spellings into the few operators that the methods know; what is not recognised stays as it was. */
export const raise = definePass({
  name: 'raise',
  summary: "turn exporters' spellings into norms, products with biases, GELU, rotary embeddings and attention",
  contract: 'exact',
  gives: ['raised', 'folded'],
  run(graph, ctx) {
    const refused = new Map<Node, readonly [rule: string, why: Refusal]>();
    const onRefusal = (rule: string, node: Node, why: Refusal): void => void refused.set(node, [rule, why]);
    for (const rules of rounds) {
      foldBranches(graph, inferTypes(graph));
      foldExtents(graph, inferTypes(graph));
      for (const [name, times] of rewriteToFixpoint(graph, rules, { onRefusal })) ctx.count(name, times);
    }
    eraseDead(graph);
    ctx.ledger.refuse(
      'raise',
      [...refused].flatMap(([node, [rule, why]]) =>
        node.graph === graph ? [{ ...refusedAt(node, rule, why), ...(normRules.has(rule) ? { about: 'norm' as const } : {}) }] : [],
      ),
    );
  },
});
