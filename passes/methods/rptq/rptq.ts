import { permutation } from '../../../ir/channel.ts';
import { diagnostic } from '../../../ir/diagnostics.ts';
import { headed, meet, pinned, type Freedom } from '../../../ir/freedom.ts';
import type { Graph, Node, Use } from '../../../ir/graph.ts';
import type { Site } from '../../../ir/ops/qc.ts';
import { changeBasis, setGroups, sites } from '../../../ir/site.ts';
import { freedomAbove, freedomBelow, refuserAbove, refuserBelow } from '../../channels/freedom-at.ts';
import { nameOf, type Candidate } from '../../infra/ledger.ts';
import { int, text } from '../../infra/options.ts';
import { definePass, type PassContext } from '../../infra/pass.ts';
import { attentionFed, attentionResult, headsOf } from '../../model/attentions.ts';
import { weightOf } from '../../model/linears.ts';
import { reductions } from '../../observe/reductions/index.ts';
import { statisticsAt } from '../../observe/statistics.ts';
import type { clusterWithin } from './cluster.ts';
import { featuresOf } from './features.ts';
import { isSpread, oneByOne, pooledRange, spread, type SharedHeads } from './shared-heads.ts';

interface Settings {
  readonly r1: number;
  readonly r2: number;
  readonly r3: number;
  readonly r4: number;
  readonly r5: number;
  readonly align: number;
  readonly seed: number;
  readonly unordered: string;
}

/**
 * RPTQ (Yuan et al. 2023): orders the channels of every site so that those of similar range are neighbours and share a scale.
 * R1 and R4 reorder what norms give to linears, R2 queries with keys, R3 values with the attention's result, R5 the input of fc2.
 */
export const rptq = definePass({
  name: 'rptq',
  summary: 'reorder channels into clusters of similar range (RPTQ)',
  contract: 'exact',
  options: {
    r1: int('clusters of a norm before attention', 32, 1),
    r2: int('clusters of each head of query and key', 4, 1),
    r3: int('clusters of each head of value and attention result', 4, 1),
    r4: int('clusters of a norm before the MLP', 32, 1),
    r5: int("clusters of the MLP's inner activation", 32, 1),
    align: int('make cluster boundaries multiples of this', 1, 1),
    seed: int('seed of k-means', 0, 0),
    unordered: text('why the target has no use for an order; given, every site stays as it is', ''),
  },
  needs: ['calibrated', 'folded'],
  breaks: ['folded'],
  observes: [reductions.range],
  traits: ['clustered'],
  async run(graph, ctx, settings) {
    if (settings.unordered !== '') return leaveAll(graph, settings.unordered, ctx);
    // The package of k-means takes a third of the time in which a command starts, so it is loaded only here.
    const clustering = await import('./cluster.ts');
    const joints = jointSites(sites(graph));
    for (const [done, joint] of joints.entries()) {
      reorder(graph, joint, settings, clustering.clusterWithin, ctx);
      ctx.progress(done + 1, joints.length, 'sites');
    }
  },
});

/** Enters why no site is reordered, for every linear and every attention that reads one. */
function leaveAll(graph: Graph, why: string, ctx: PassContext): void {
  const left = (kind: Candidate, node: Node) => ctx.ledger.left(kind, nameOf(node), `not reordered: ${why}`, { intended: true });
  for (const site of sites(graph)) {
    for (const { node } of readersOf(site)) if (weightOf(node)) left('linear', node);
    const attention = attentionFed(site.y);
    if (attention) left('attention', attention);
  }
}

/** Sites that must share one order: query with key (R2), value with the attention's result (R3); all others stand alone. */
type Joint = readonly [Site, ...Site[]];

function jointSites(all: readonly Site[]): readonly Joint[] {
  const find = (role: Site['role'], attention: Node, where: (s: Site) => Node | null) =>
    all.find((s) => s.role === role && where(s) === attention);
  const below = (s: Site) => attentionFed(s.y);
  const above = (s: Site) => (s.role === 'linear' ? attentionResult(s.x) : null);
  return all.flatMap((site): Joint[] => {
    const fed = below(site);
    const made = above(site);
    if (site.role === 'query' && fed) return [group(site, find('key', fed, below))];
    if (site.role === 'key' && fed && find('query', fed, below)) return [];
    if (site.role === 'value' && fed) return [group(site, find('linear', fed, above))];
    if (made && find('value', made, below)) return [];
    return [[site]];
  });
}

const group = (site: Site, other: Site | undefined): Joint => (other ? [site, other] : [site]);

function reorder(graph: Graph, joint: Joint, settings: Settings, cluster: typeof clusterWithin, ctx: PassContext): void {
  const [lead] = joint;
  const refuse = (why: string) => ctx.report(diagnostic('QC3301', `%${lead.key}: not reordered: ${why}`, lead.node.loc));
  const ranges = joint.flatMap((site) => statisticsAt(site)?.range ?? []);
  if (ranges.length < joint.length) return ctx.report(diagnostic('QC3201', `no ranges at %${lead.key}; left alone`, lead.node.loc));
  const sizes = ranges.map(({ min }) => min.length);
  const orders = joint.map((site, k) => orderAt(site, joint, sizes[k]!, settings));
  if (!orders.every(({ freedom }) => freedom.can.perm)) return refuse(`${whoRefuses(joint, sizes)} cannot take an order`);
  const heads = sharedHeads(joint, sizes);
  if (!heads) return refuse('its heads are unknown');
  const features = featuresOf(ranges.map((range, k) => pooledRange(range, heads[k]!)));
  const clusterings = orders.map(({ clusters }, k) => {
    const alike = orders.filter((_, j) => sizes[j] === sizes[k]).map(({ freedom }) => freedom);
    return cluster(spread(features, heads[k]!), alike.reduce(meet), clusters, settings);
  });
  const changes = clusterings.map(({ order }) => permutation(order));
  const narrow = changes.find((_, k) => heads[k]!.shared === 1)!;
  if (!changes.every((t, k) => isSpread(t, narrow, heads[k]!))) return refuse('its heads and those that share its order turn differently');
  for (const [k, site] of joint.entries()) {
    const { moved, sizes: groups } = clusterings[k]!;
    if (moved > 0) reportMoved(site, moved, sizes[k]!, settings.align, ctx);
    setGroups(graph, changeBasis(graph, site, changes[k]!), groups);
  }
  ctx.count('sites', joint.length);
  ctx.count('clusters', clusterings[0]!.sizes.length);
}

/** For each site of a joint, how its heads share those of the one that has the fewest; null where heads are unknown. */
function sharedHeads([lead]: Joint, sizes: readonly number[]): readonly SharedHeads[] | null {
  const least = Math.min(...sizes);
  if (sizes.every((size) => size === least)) return sizes.map(oneByOne);
  const attention = attentionFed(lead.y);
  const heads = attention && headsOf(attention);
  return heads && sizes.map((size) => ({ width: least / heads.keys, shared: size / least }));
}

function whoRefuses(joint: Joint, sizes: readonly number[]): string {
  const found = joint.map((site, k) => refuserAbove(site.x, sizes[k]!, 'perm') ?? refuserBelow(site.y, sizes[k]!, 'perm'));
  return found.find((who) => who !== null) ?? 'a neighbour';
}

/** What alignment costs: channels that share the scale of a wider cluster than k-means put them into. */
function reportMoved(site: Site, moved: number, size: number, align: number, ctx: PassContext): void {
  for (const { node } of readersOf(site).filter((u) => weightOf(u.node)))
    ctx.ledger.done('linear', nameOf(node), `clusters end at multiples of ${align}: ${moved} of ${size} channels in a wider one`);
}

/** Which orders a site of a joint may take, and how many clusters in each of its cells. */
function orderAt(site: Site, joint: Joint, size: number, s: Settings): { readonly freedom: Freedom; readonly clusters: number } {
  const above = freedomAbove(site.x, size);
  switch (site.role) {
    case 'norm': {
      // A norm cannot take an order itself: its store goes through an index, as in the paper.
      const below = freedomBelow(site.y, size);
      return { freedom: below, clusters: feedsAttention(site) ? s.r1 : s.r4 };
    }
    case 'linear': {
      const clusters = attentionResult(site.x) ? s.r3 : s.r5;
      const below = freedomBelow(site.y, size);
      return { freedom: { ...above, can: { ...above.can, perm: above.can.perm && below.can.perm } }, clusters };
    }
    case 'value':
      return { freedom: withinHeads(above, site, joint, size), clusters: s.r3 };
    case 'query':
    case 'key':
      return { freedom: withinHeads(above, site, joint, size), clusters: s.r2 };
  }
}

/** An order of what an attention reads stays in each head, and does away with that of the site that shares it. */
function withinHeads(above: Freedom, site: Site, joint: Joint, size: number): Freedom {
  const attention = attentionFed(site.y);
  const heads = attention && headsOf(attention);
  if (!heads) return pinned(size);
  const [count, shared] = site.role === 'query' ? [heads.queries, heads.shared] : [heads.keys, 1];
  return meet(above, headed(count, size / count, shared, { perm: joint.length > 1, scale: true, shift: true }));
}

/** Who reads a site, behind a way back out of its basis. */
const readersOf = (site: Site): readonly Use[] =>
  [...site.y.uses].flatMap((u) => (u.node.op === 'qc.Decode' ? [...u.node.output.uses] : [u]));

const feedsAttention = (site: Site): boolean => readersOf(site).some((u) => attentionFed(u.node.output) !== null);
