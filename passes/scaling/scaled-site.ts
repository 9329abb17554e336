import type { Graph, Node } from '../../ir/graph.ts';
import { meet, type Freedom } from '../../ir/freedom.ts';
import type { Site } from '../../ir/ops/qc.ts';
import { sites } from '../../ir/site.ts';
import { freedomAbove, freedomBelow, refuserAbove, refuserBelow } from '../channels/freedom-at.ts';
import { attentionFed, attentionResult } from '../model/attentions.ts';
import { statisticsAt, type Statistics } from '../observe/statistics.ts';
import { lossRegion, type LossRegion } from '../search/loss-region.ts';
import type { SearchedSite } from '../search/searched-site.ts';

/** A site whose channels take positive scales. */
export interface ScaledSite extends SearchedSite {
  readonly freedom: Freedom;
}

/** Why a site stays as it is; `expected` where it is not for want of a statistic. */
export interface Left {
  readonly kind: 'left';
  readonly why: string;
  readonly expected: boolean;
}

/** A site that takes no scale. */
export interface RefusedSite extends Left {
  readonly site: Site;
  readonly region: LossRegion;
}

/** The inputs of linears: those that take positive scales, and the others. */
export function scaledSites(graph: Graph): { readonly scaled: readonly ScaledSite[]; readonly refused: readonly RefusedSite[] } {
  const [scaled, refused]: [ScaledSite[], RefusedSite[]] = [[], []];
  for (const site of sites(graph).filter((s) => s.role === 'norm' || s.role === 'linear')) {
    const [region, statistics] = [lossRegion(graph, site), statisticsAt(site)];
    const freedom = statistics && freedomFor(graph, site, region, statistics);
    if (!freedom) refused.push({ kind: 'left', site, region, why: 'calibration has seen nothing there', expected: false });
    else if (typeof freedom === 'string') refused.push({ kind: 'left', site, region, why: freedom, expected: true });
    else scaled.push({ site, region, statistics: statistics!, freedom });
  }
  return { scaled, refused };
}

/** What the neighbours of a site take, or why they take no scale. */
function freedomFor(graph: Graph, site: Site, { linears }: LossRegion, { range }: Statistics): Freedom | string {
  if (linears.length === 0) return 'it feeds no linear';
  const size = range.min.length;
  const freedom = meet(freedomAbove(site.x, size), freedomBelow(site.y, size));
  const attention = attentionResult(site.x);
  if (!freedom.can.scale)
    return `${refuserAbove(site.x, size, 'scale') ?? refuserBelow(site.y, size, 'scale') ?? 'another reader of its input'} takes no scale`;
  if (attention && quantizesValues(graph, attention))
    return 'the values of the attention are quantized on the way, which the loss does not see';
  return freedom;
}

const quantizesValues = (graph: Graph, attention: Node): boolean =>
  sites(graph).some((s) => s.role === 'value' && attentionFed(s.y) === attention);
