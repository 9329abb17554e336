import { standardize } from '../../../ir/channel.ts';
import type { Graph } from '../../../ir/graph.ts';
import type { PassContext } from '../../infra/pass.ts';
import { movedStatistics } from '../../observe/statistics.ts';
import { channelGroups } from '../../quantize/scale-groups.ts';
import type { Captured } from '../../search/capture.ts';
import type { Candidate } from '../../search/candidate.ts';
import { rangesUnder, siteLoss, type LossQuantizers } from '../../scaling/site-loss.ts';
import type { OsPlusSite } from './os-plus-site.ts';
import { search, type Found, type SearchKind } from './search.ts';
import { centred, thresholds, widths, type Centred } from './thresholds.ts';

export interface ThresholdSettings extends LossQuantizers {
  readonly steps: number | null;
  readonly low: number;
  readonly search: SearchKind;
}

/** The threshold of a site with the least loss on what was captured; null where every channel is narrow already. */
export async function bestThreshold(
  graph: Graph,
  t: OsPlusSite,
  settings: ThresholdSettings,
  captured: Captured,
  ctx: PassContext,
): Promise<Found | null> {
  const { range } = t.statistics;
  const at = centred(range, t.shift);
  const largest = range.max.reduce((most, x, j) => Math.max(most, x - at.centre[j]!), 0);
  const all = thresholds(at.half, settings.low, settings.steps === null ? null : Math.floor(settings.steps), largest);
  if (all.length === 0) return null;
  const samples = await captured.samplesAt(t);
  const loss = await siteLoss(graph, t, at.centre, settings, samples, ctx);
  try {
    const measured = loss.on(samples);
    const losses = (some: readonly number[]) => measured(some.map((threshold) => candidateFor(t, at, threshold, settings)));
    return await search({ thresholds: all, losses }, settings.search);
  } finally {
    await loss.close();
  }
}

/** One quantizer for all channels has the range (-t, t), as in the released code; groups have the ranges of their channels. */
function candidateFor({ site, statistics }: OsPlusSite, at: Centred, threshold: number, settings: ThresholdSettings): Candidate {
  const width = widths(at.half, threshold);
  if (channelGroups(width.length, site, settings).length === 1) return { width, ranges: [[-threshold, threshold]] };
  return { width, ranges: rangesUnder(settings, site, movedStatistics(statistics, standardize(at.centre, width))) };
}
