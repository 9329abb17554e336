import { definePass, diagnostic, float, quantile, reductions, setStatistic, sites, statisticsAt } from '@onnx-qc/qc';

/** @import { ChannelRange, TokenRange } from '@onnx-qc/qc' */
/** @typedef {{ readonly lo: number, readonly hi: number }} Bounds */

/**
 * The bounds that a share of the tokens keeps to, each to the width of a bin, 6 % wide.
 * @type {(tokens: TokenRange, share: number) => Bounds}
 */
const boundsOf = ({ min, max }, share) => ({ lo: quantile(min, 1 - share), hi: quantile(max, share) });

/**
 * The range within the bounds; a channel that lies beyond one of them altogether keeps the end that is nearer.
 * @type {(range: ChannelRange, bounds: Bounds) => ChannelRange}
 */
const clipped = ({ min, max }, { lo, hi }) => ({
  min: min.map((x, i) => Math.min(Math.max(x, lo), max[i] ?? x)),
  max: max.map((x, i) => Math.max(Math.min(x, hi), min[i] ?? x)),
});

/** qc compile MODEL --plugin ./clip-channels.mjs -p "clip-channels{percentile=99},os+" ... */
export default definePass({
  name: 'clip-channels',
  summary: 'narrow the ranges of channels to what a percentile of the tokens keeps to',
  contract: 'exact',
  options: { percentile: float('percent of the tokens that lie within the bounds', 99.9, 50) },
  needs: ['calibrated'],
  observes: [reductions.range, reductions.average, reductions.tokenRange],
  run(graph, ctx, { percentile }) {
    for (const site of sites(graph)) {
      const seen = statisticsAt(site);
      const tokens = seen?.get(reductions.tokenRange);
      if (!seen || !tokens) {
        ctx.report(diagnostic('QC3201', `no extremes of tokens at %${site.key}; left alone`, site.node.loc));
        continue;
      }
      const bounds = boundsOf(tokens, percentile / 100);
      const range = clipped(seen.range, bounds);
      const narrowed = range.max.filter((hi, i) => hi !== seen.range.max[i] || range.min[i] !== seen.range.min[i]).length;
      if (narrowed === 0) continue;
      const average = seen.get(reductions.average);
      setStatistic(graph, site, reductions.range, range);
      if (average) setStatistic(graph, site, reductions.average, clipped(average, bounds));
      ctx.count('narrowed', narrowed);
    }
  },
});
