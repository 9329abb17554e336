import type { Graph, Node, Use, Value } from '../../ir/graph.ts';
import type { Role } from '../../ir/ops/qc.ts';
import { markSite } from '../../ir/site.ts';
import { diagnostic } from '../../ir/diagnostics.ts';
import { nodesInBodies } from '../../ir/walk.ts';
import { flag, text } from '../infra/options.ts';
import { nameOf, refusalText } from '../infra/ledger.ts';
import { definePass, type PassContext } from '../infra/pass.ts';
import { attentionRoles, attentionsOf, isAttention } from '../model/attentions.ts';
import { isHead } from '../model/head.ts';
import { headInFloat, linearsOf, productLeft, weightOf, type Linear } from '../model/linears.ts';
import { isNorm } from '../model/norms.ts';
import { hasRole, recordOf } from '../operators/index.ts';
import { schemeNamed } from './schemes.ts';

/** Decides what is to be quantized: marks the inputs of linears, and of attention where the scheme asks for it. */
export const markSites = definePass({
  name: 'mark-sites',
  summary: 'mark the values that the scheme quantizes',
  contract: 'exact',
  options: {
    scheme: text('scheme that says what is quantized', 'w8a8'),
    head: flag('also quantize the head: logits behind the last norm', false),
  },
  needs: ['raised'],
  gives: ['sites'],
  run(graph, ctx, { scheme, head }) {
    const { activations } = schemeNamed(scheme);
    enterCandidates(graph, ctx);
    const linears = linearsOf(graph).filter((l) => head || !leaveHead(graph, l, ctx));
    for (const [value, group] of byInput(linears)) {
      const role = isNorm(value.producer) ? 'norm' : 'linear';
      markSite(
        graph,
        value,
        group.map((l) => l.node.operands[0]!),
        role,
      );
      ctx.count(role);
    }
    for (const attention of attentionsOf(graph))
      for (const use of attentionUses(attention, Object.keys(activations) as Role[])) markAttention(graph, use, ctx);
  },
});

/** Everything that a user may ask about enters the ledger, so that nothing is passed over in silence. */
function enterCandidates(graph: Graph, ctx: PassContext): void {
  for (const node of graph.nodes) {
    if (isNorm(node)) ctx.ledger.enter('norm', nameOf(node));
    if (isAttention(node)) ctx.ledger.enter('attention', nameOf(node));
    const kind = unrecognised(node);
    if (kind) ctx.ledger.left(kind, nameOf(node), `not recognised as ${kind}: ${refusalOf(node, ctx) ?? 'the spelling is unknown'}`);
    enterLinear(node, ctx);
    enterBodies(node, ctx);
  }
  for (const refused of ctx.ledger.refused)
    if (refused.about === 'norm') ctx.ledger.left('norm', refused.node, `not recognised as norm: ${refusalText(refused)}`);
}

/** What a node is, or is in the middle of, that passes know no more of. */
const unrecognised = (node: Node): 'norm' | 'attention' | null =>
  hasRole(node, 'softmax') ? 'attention' : (recordOf(node).unraised ?? null);

/** Why a rule of `raise` left a node as it was; null where none knew it. */
function refusalOf(node: Node, ctx: PassContext): string | null {
  const refused = ctx.ledger.refusalAt(nameOf(node));
  return refused && refusalText(refused);
}

function enterLinear(node: Node, ctx: PassContext): void {
  const why = productLeft(node);
  const refusal = refusalOf(node, ctx);
  if (why === headInFloat) ctx.ledger.left('linear', nameOf(node), why, { intended: true });
  else if (why !== null) ctx.ledger.left('linear', nameOf(node), refusal === null ? why : `${why}: ${refusal}`);
  else if (weightOf(node)) ctx.ledger.enter('linear', nameOf(node));
}

/** What bodies hold is listed and left: passes work on the outer graph. */
function enterBodies(holder: Node, ctx: PassContext): void {
  const inner = [...nodesInBodies(holder)];
  const refusal = refusalOf(holder, ctx);
  const why = `inside the body of ${holder.op}: ${refusal ?? 'passes change the graph around it'}`;
  const linears = inner.filter((node) => productLeft(node) !== null || weightOf(node));
  for (const node of linears) ctx.ledger.left('linear', nameOf(node), why);
  for (const node of inner) if (isNorm(node) || unrecognised(node) === 'norm') ctx.ledger.left('norm', nameOf(node), why);
  for (const node of inner) if (isAttention(node) || unrecognised(node) === 'attention') ctx.ledger.left('attention', nameOf(node), why);
  if (linears.length === 0) return;
  ctx.report(diagnostic('QC3302', `${linears.length} linears inside the body of ${holder.op} stay in float`, holder.loc));
}

function leaveHead(graph: Graph, linear: Linear, ctx: PassContext): boolean {
  const head = isHead(graph, linear);
  if (head) ctx.ledger.left('linear', nameOf(linear.node), headInFloat, { intended: true });
  return head;
}

function byInput(linears: readonly Linear[]): ReadonlyMap<Value, readonly Linear[]> {
  const groups = new Map<Value, Linear[]>();
  for (const l of linears) groups.set(l.input, [...(groups.get(l.input) ?? []), l]);
  return groups;
}

/** The operands that the scheme quantizes, and the query beside a key even if it stays in float: an order of the two cancels only together. */
const attentionUses = (node: Node, wanted: readonly Role[]): readonly (readonly [Role, Use])[] =>
  attentionRoles.flatMap((role, i) =>
    wanted.includes(role) || (role === 'query' && wanted.includes('key')) ? [[role, node.operands[i]!] as const] : [],
  );

function markAttention(graph: Graph, [role, use]: readonly [Role, Use], ctx: PassContext): void {
  markSite(graph, use.value!, [use], role);
  ctx.count(role);
}
