import { standardize } from '../../../ir/channel.ts';
import type { Graph } from '../../../ir/graph.ts';
import type { Layout } from '../../../ir/layout.ts';
import type { Site } from '../../../ir/ops/qc.ts';
import type { Scheme } from '../../../ir/scheme.ts';
import { pick, type Feeds } from '../../infra/executor.ts';
import type { PassContext } from '../../infra/pass.ts';
import { movedStatistics } from '../../observe/statistics.ts';
import { activationAt } from '../../quantize/activation-at.ts';
import { channelGroups, clusterGrid, rowGroups, runTimeBlock } from '../../quantize/scale-groups.ts';
import { usualRange } from '../../quantize/usual-range.ts';
import { schemeNamed } from '../../quantize/schemes.ts';
import type { Captured } from '../../search/capture.ts';
import { changedGroups } from '../../search/changed-groups.ts';
import { lossGraph } from '../../search/loss-graph.ts';
import { names, type LossActivation } from '../../search/loss-settings.ts';
import { sameLoss, search, type Found, type LossSample, type SearchKind } from '../../search/search.ts';
import { stacked } from '../../search/stack.ts';
import { candidateFeeds } from './candidate.ts';
import type { OsPlusSite } from './os-plus-site.ts';
import { centred, thresholds, widths } from './thresholds.ts';

export interface ThresholdSettings extends Layout {
  readonly scheme: string;
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
  const candidates = thresholds(at.half, settings.low, settings.steps === null ? null : Math.floor(settings.steps), largest);
  if (candidates.length === 0) return null;
  const scheme = schemeNamed(settings.scheme);
  const activation = activationFor(scheme, t.site, range.min.length, settings);
  const apart = await captured.samplesAt(t);
  const masked = apart.every((s) => names.tokens in s.feeds);
  const groups = rowGroups(range.min.length, t.site, settings);
  const loss = lossGraph(t.region, t.site, { centre: at.centre, activation, weights: scheme.weights, groups, masked }, graph.opsets);
  const clusters = channelGroups(range.min.length, t.site, settings);
  const quantizer = activationAt(scheme, t.site, settings);
  const candidate = (threshold: number) => {
    const width = widths(at.half, threshold);
    const then = movedStatistics(t.statistics, standardize(at.centre, width));
    return { threshold, width, range: quantizer ? usualRange(then, quantizer, clusters) : then.range };
  };
  const fed = new Set(loss.inputs.map((v) => v.name));
  const feedsFor = (some: readonly number[]): Feeds => {
    const feeds = candidateFeeds(some.map(candidate), activation, clusters);
    return pick({ ...feeds, [names.changed]: changedGroups(feeds[names.widths]!, groups) }, fed);
  };
  const program = await ctx.services.executor.load(loss);
  try {
    const feedable = (all: readonly LossSample[]) => all.map((s) => ({ ...s, feeds: pick(s.feeds, fed) }));
    const together = takesBatches(t) ? stacked(apart) : apart;
    const samples = await sameLoss(program, feedable(together), feedable(apart), feedsFor(candidates.slice(0, 1)));
    return await search({ program, samples, thresholds: candidates, feedsFor }, settings.search, ctx.signal);
  } finally {
    await program.close();
  }
}

/** Whether no value that the loss reads has a fixed number of rows. */
const takesBatches = ({ site, region }: OsPlusSite): boolean =>
  [site.x, ...region.others].every((v) => typeof v.type?.shape?.[0] !== 'number');

/** The quantizer that the site will have: the scheme's, or symmetric in blocks where the target quantizes so. */
function activationFor(scheme: Scheme, site: Site, size: number, layout: Layout): LossActivation | null {
  const activation = activationAt(scheme, site, layout);
  if (!activation) return null;
  if (layout.activations === 'block') return { ...activation, symmetric: true, range: 'token', block: runTimeBlock(size, layout) };
  return { ...activation, grid: clusterGrid(activation, channelGroups(size, site, layout)), block: 0 };
}
