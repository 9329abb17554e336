import { standardize } from '../../../ir/channel.ts';
import { diagnostic, fail } from '../../../ir/diagnostics.ts';
import type { Graph } from '../../../ir/graph.ts';
import type { Site } from '../../../ir/ops/qc.ts';
import { inferTypes } from '../../../ir/shapes/infer.ts';
import { changeBasis, sites } from '../../../ir/site.ts';
import { freedomAbove, freedomBelow, refuserAbove, refuserBelow } from '../../channels/freedom-at.ts';
import { choice, flag, float, text } from '../../infra/options.ts';
import { definePass, type PassContext } from '../../infra/pass.ts';
import { reductions } from '../../observe/reductions/index.ts';
import { statisticsAt } from '../../observe/statistics.ts';
import { layoutOptions } from '../../quantize/scale-groups.ts';
import { capture, captureOptions } from '../../search/capture.ts';
import { lossRegion } from '../../search/loss-region.ts';
import type { OsPlusSite } from './os-plus-site.ts';
import { bestThreshold } from './threshold.ts';
import { centred, widths } from './thresholds.ts';

/**
 * Outlier Suppression+ (Wei et al. 2023): centres every channel behind a norm, then shrinks the channels that are wider than a
 * threshold, which a descending search finds by the error of what the site feeds.
 */
export const osPlus = definePass({
  name: 'os+',
  summary: 'shift and scale outlier channels behind norms (Outlier Suppression+)',
  contract: 'exact',
  options: {
    scheme: text('scheme whose quantizers the search uses', 'w8a8'),
    shift: flag('centre the channels', true),
    threshold: float('half-range that channels shrink to; given, the search is skipped', null, 0),
    steps: float('candidates of the search (default: the larger of 100 and half-units of the range)', null, 1),
    low: float('smallest threshold that the search tries', 1, 0),
    search: choice('a coarse and a fine pass over the candidates, or all of them', ['two-pass', 'exhaustive'], 'two-pass'),
    ...captureOptions,
    ...layoutOptions,
  },
  needs: ['calibrated', 'folded'],
  breaks: ['folded'],
  observes: [reductions.range, reductions.average],
  traits: ['equalized'],
  async run(graph, ctx, settings) {
    inferTypes(graph);
    const found = osPlusSites(graph, settings.shift, ctx);
    if (found.length === 0) return;
    if (settings.threshold === null && !ctx.services.samples?.length) {
      fail('QC2101', 'the search of os+ measures its loss on samples, and there are none', undefined, {
        hint: 'give samples with --calib, or a threshold: os+{threshold=5}',
      });
    }
    const spool = ctx.services.spool();
    try {
      const captured = settings.threshold === null ? await capture(graph, found, settings, spool, ctx) : null;
      for (const [done, t] of found.entries()) {
        const threshold = captured ? ((await bestThreshold(graph, t, settings, captured, ctx))?.threshold ?? null) : settings.threshold;
        transform(graph, t, threshold, ctx);
        ctx.progress(done + 1, found.length, 'sites');
      }
    } finally {
      await spool.close();
    }
  },
});

/** The sites behind norms that can take a scale; those that cannot are reported. */
export const osPlusSites = (graph: Graph, shift: boolean, ctx: PassContext): readonly OsPlusSite[] =>
  sites(graph).flatMap((site) => osPlusSite(graph, site, shift, ctx) ?? []);

function osPlusSite(graph: Graph, site: Site, shift: boolean, ctx: PassContext): OsPlusSite | null {
  if (site.role !== 'norm') return null;
  const statistics = statisticsAt(site);
  if (!statistics) {
    ctx.report(diagnostic('QC3201', `no ranges at %${site.key}; left alone`, site.node.loc));
    return null;
  }
  const size = statistics.range.min.length;
  const [above, below] = [freedomAbove(site.x, size).can, freedomBelow(site.y, size).can];
  if (!above.scale || !below.scale) {
    ctx.report(
      diagnostic(
        'QC3301',
        `%${site.key}: ${refuserAbove(site.x, size, 'scale') ?? refuserBelow(site.y, size, 'scale')} cannot take a scale`,
        site.node.loc,
      ),
    );
    return null;
  }
  return { site, statistics, shift: shift && above.shift && below.shift, region: lossRegion(graph, site) };
}

/** Centres the channels of a site and shrinks those that are wider than the threshold; null: none is. */
function transform(graph: Graph, t: OsPlusSite, threshold: number | null, ctx: PassContext): void {
  const at = centred(t.statistics.range, t.shift);
  const width = threshold === null ? at.half.map(() => 1) : widths(at.half, threshold);
  changeBasis(graph, t.site, standardize(at.centre, width));
  ctx.count('sites');
  ctx.count(
    'channels scaled',
    width.reduce((n, w) => n + (w > 1 ? 1 : 0), 0),
  );
}
