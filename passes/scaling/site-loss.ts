import type { Graph } from '../../ir/graph.ts';
import type { Layout } from '../../ir/layout.ts';
import type { Site } from '../../ir/ops/qc.ts';
import type { Scheme } from '../../ir/scheme.ts';
import { pick, type Feeds } from '../infra/executor.ts';
import type { PassContext } from '../infra/pass.ts';
import type { Statistics } from '../observe/statistics.ts';
import { activationAt, layoutAt } from '../quantize/activation-at.ts';
import { channelGroups, clusterGrid, groupRanges, rowGroups, runTimeBlock } from '../quantize/scale-groups.ts';
import { schemeNamed } from '../quantize/schemes.ts';
import { usualRange } from '../quantize/usual-range.ts';
import { candidateFeeds, type Candidate } from '../search/candidate.ts';
import { changedGroups } from '../search/changed-groups.ts';
import { lossGraph } from '../search/loss-graph.ts';
import { names, type LossActivation } from '../search/loss-settings.ts';
import { lossesOf, sameLoss, tokensIn, type LossSample } from '../search/losses.ts';
import type { SearchedSite } from '../search/searched-site.ts';
import { stacked } from '../search/stack.ts';

/** The quantizers that a loss is measured under. */
export interface LossQuantizers extends Layout {
  readonly scheme: string;
}

/** The mean over tokens of each candidate's loss. */
export type Losses = (candidates: readonly Candidate[]) => Promise<readonly number[]>;

/** The loss of a site that is centred at one place for all candidates. */
export interface SiteLoss {
  /** The loss on some samples of the capture that the site's come from. */
  readonly on: (samples: readonly LossSample[]) => Losses;
  readonly close: () => Promise<void>;
}

/** Candidates of one run: as many as make its overhead small, so few that a search can be stopped. */
const together = 16;

/** Loads the loss graph of a site; `samples` are what was captured there. */
export async function siteLoss(
  graph: Graph,
  searched: SearchedSite,
  centre: Float64Array,
  quantizers: LossQuantizers,
  samples: readonly LossSample[],
  { services, signal }: Pick<PassContext, 'services' | 'signal'>,
): Promise<SiteLoss> {
  const { site, region } = searched;
  const scheme = schemeNamed(quantizers.scheme);
  const layout = layoutAt(site, quantizers);
  const activation = activationFor(scheme, site, centre.length, layout);
  const masked = samples.every((s) => names.tokens in s.feeds);
  const groups = rowGroups(centre.length, site, layout);
  const clusters = channelGroups(centre.length, site, layout);
  const loss = lossGraph(region, site, { centre, activation, weights: scheme.weights, groups, masked }, graph.opsets);
  const fed = new Set(loss.inputs.map((v) => v.name));
  const feedsFor = (some: readonly Candidate[]): Feeds => {
    const feeds = candidateFeeds(some, activation, clusters);
    return pick({ ...feeds, [names.changed]: changedGroups(feeds[names.widths]!, groups) }, fed);
  };
  const program = await services.executor.load(loss);
  const feedable = (all: readonly LossSample[]) => all.map((s) => ({ ...s, feeds: pick(s.feeds, fed) }));
  return {
    on(some) {
      const joined = takesBatches(searched) ? stacked(some) : some;
      let runs: Promise<readonly LossSample[]> | null = null;
      return async (candidates) => {
        if (candidates.length === 0) return [];
        runs ??= sameLoss(program, feedable(joined), feedable(some), feedsFor(candidates.slice(0, 1)));
        const found: number[] = [];
        for (let start = 0; start < candidates.length; start += together) {
          signal.throwIfAborted();
          const sums = await lossesOf(program, await runs, feedsFor(candidates.slice(start, start + together)));
          found.push(...sums.map((sum) => sum / tokensIn(some)));
        }
        return found;
      };
    },
    close: () => program.close(),
  };
}

/** The ranges that the static scales of a site come from, given its statistics in the basis of a candidate. */
export function rangesUnder(quantizers: LossQuantizers, site: Site, then: Statistics): Candidate['ranges'] {
  const layout = layoutAt(site, quantizers);
  const quantizer = activationAt(schemeNamed(quantizers.scheme), site, layout);
  const groups = channelGroups(then.range.min.length, site, layout);
  return groupRanges(quantizer ? usualRange(then, quantizer, groups) : then.range, groups);
}

/** Whether no value that the loss reads has a fixed number of rows. */
const takesBatches = ({ site, region }: SearchedSite): boolean =>
  [site.x, ...region.others].every((v) => typeof v.type?.shape?.[0] !== 'number');

/** The quantizer that the site will have: the scheme's, or symmetric in blocks where the target quantizes so. */
function activationFor(scheme: Scheme, site: Site, size: number, layout: Layout): LossActivation | null {
  const activation = activationAt(scheme, site, layout);
  if (!activation) return null;
  if (layout.activations === 'block') return { ...activation, symmetric: true, range: 'token', block: runTimeBlock(size, layout) };
  return { ...activation, grid: clusterGrid(activation, channelGroups(size, site, layout)), block: 0 };
}
