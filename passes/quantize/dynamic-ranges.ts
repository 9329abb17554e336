import { fail } from '../../ir/diagnostics.ts';
import type { Graph } from '../../ir/graph.ts';
import { inferTypes } from '../../ir/shapes/infer.ts';
import { observerOf, setTokenRange, sites } from '../../ir/site.ts';
import { float, text } from '../infra/options.ts';
import { nameOf } from '../infra/ledger.ts';
import { definePass, type PassContext } from '../infra/pass.ts';
import { linearsOf } from '../model/linears.ts';
import { collect, type Observed } from '../observe/calibrate.ts';
import { reductions } from '../observe/reductions/index.ts';
import { statisticsOf } from '../observe/statistics.ts';
import { activationAt, layoutAt } from './activation-at.ts';
import { halves } from './halves.ts';
import { rangeNoise, type StaticSite } from './range-noise.ts';
import { channelGroups, layoutOptions } from './scale-groups.ts';
import { schemeNamed } from './schemes.ts';

/**
 * Finds where static scales do not hold: ranges of one half of the samples quantize the inputs of linears on the other half. Where the mean
 * over tokens of noise by signal is more than `most`, and less with a scale for each token, the site gets these. On the samples that ranges
 * come from nothing is clipped, so that what is measured there misleads (section 10 of docs/methods.md).
 */
export const dynamicRanges = definePass({
  name: 'dynamic-ranges',
  summary: 'find scales for each token where static ones do not hold on samples that they do not come from',
  contract: 'exact',
  options: {
    scheme: text('scheme whose quantizers are tried', 'w8a8'),
    most: float(
      'mean noise by signal of the results up to which static scales are good enough (default: 0.002 at 8 bits, 4 times as much for each bit less)',
      null,
      0,
    ),
    ...layoutOptions,
  },
  needs: ['calibrated', 'folded'],
  async run(graph, ctx, settings) {
    if (settings.activations === 'block') return;
    const { samples } = ctx.services;
    if (!samples || samples.length < 2)
      fail('QC2101', 'dynamic-ranges holds the ranges of some samples against others, and there are fewer than two');
    inferTypes(graph);
    const [seen, heldOut] = halves(samples);
    const services = { ...ctx.services, samples: seen };
    const found = await collect(graph, { ...ctx, services, observes: [reductions.range, reductions.average] });
    const candidates = staticSites(graph, found, settings);
    const noise = await rangeNoise(graph, candidates, heldOut, ctx);
    for (const candidate of candidates) {
      const at = noise.get(candidate.site.key);
      ctx.count('sites');
      const most = settings.most ?? usualMost(candidate.activation.bits);
      if (at && at.fixed > most && at.token < at.fixed) place(graph, candidate, ctx);
    }
  },
});

/** With a bit less steps are twice as large, and their noise has four times the power. */
const usualMost = (bits: number): number => 0.002 * 4 ** (8 - bits);

/** The sites that feed linears and would have static scales, with what one half of the samples showed there. */
function staticSites(
  graph: Graph,
  seen: ReadonlyMap<string, Observed>,
  settings: Parameters<typeof layoutAt>[1] & { readonly scheme: string },
): readonly StaticSite[] {
  const [scheme, linears] = [schemeNamed(settings.scheme), linearsOf(graph)];
  return sites(graph).flatMap((site) => {
    const readers = linears.filter((l) => l.input === site.y);
    const activation = activationAt(scheme, site, settings);
    const observed = seen.get(observerOf(site)?.key ?? '');
    const statistics = observed ? statisticsOf(observed) : null;
    if (readers.length === 0 || activation?.range !== 'static' || !statistics) return [];
    const groups = channelGroups(statistics.range.min.length, site, layoutAt(site, settings));
    return [{ site, linears: readers, activation, statistics, groups }];
  });
}

function place(graph: Graph, { site, linears }: StaticSite, ctx: PassContext): void {
  setTokenRange(graph, site);
  for (const { node } of linears) ctx.ledger.done('linear', nameOf(node), 'static scales do not hold on other samples');
  ctx.count('sites with a scale for each token');
}
