import { int } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { translation, type ChannelRange } from '../../ir/channel.ts';
import { diagnostic } from '../../ir/diagnostics.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import type { Layout } from '../../ir/layout.ts';
import { DynamicQuantize, FakeQuantize, type Site } from '../../ir/ops/qc.ts';
import { codeRange, groupIndex, parametersFor, type Grid, type QuantParameters } from '../../ir/quant.ts';
import { eraseDead } from '../../ir/rewrite.ts';
import type { ActivationScheme, Scheme, WeightScheme } from '../../ir/scheme.ts';
import { changeBasis, channelsAt, observerOf, sites } from '../../ir/site.ts';
import { fold } from '../channels/fold-channels.ts';
import { choice, text } from '../infra/options.ts';
import { nameOf } from '../infra/ledger.ts';
import { definePass, type PassContext } from '../infra/pass.ts';
import { attentionFed, attentionsOf } from '../model/attentions.ts';
import { isHead } from '../model/head.ts';
import { linearsOf, type Linear } from '../model/linears.ts';
import { quantile } from '../observe/histogram.ts';
import { reductions } from '../observe/reductions/index.ts';
import { statisticsAt, type Statistics } from '../observe/statistics.ts';
import { activationAt, layoutAt } from './activation-at.ts';
import { isWeightQuantized, nearestGrid, quantizeWeight, weightGrouping } from './quantize-weight.ts';
import { schemeNamed } from './schemes.ts';
import { channelGroups, clusterGrid, groupRanges, layoutOptions, runTimeBlock } from './scale-groups.ts';
import { averageOf, growth, usualRange, usualRangeName } from './usual-range.ts';

interface Settings extends Layout {
  readonly scheme: string;
  readonly range: 'auto' | 'minmax' | 'ema' | 'token';
  readonly zeros: 'fit' | 'free';
  readonly grid: 'auto' | 'standard' | 'rptq';
}

/** Gives every site and every weight behind one its quantizer, as a `qc.FakeQuantize` that computes in float. */
export const quantize = definePass({
  name: 'quantize',
  summary: 'give sites and weights their quantizers, round to nearest',
  contract: 'approximate',
  options: {
    scheme: text('scheme that says what is quantized and how', 'w8a8'),
    ...layoutOptions,
    grid: choice(
      "steps of clustered activations: RPTQ's (auto), which need not reach zero, or those of the scheme",
      ['auto', 'standard', 'rptq'],
      'auto',
    ),
    zeros: choice(
      "zero points outside the codes: moved into weights and biases (fit), or left to the target's kernels (free)",
      ['fit', 'free'],
      'fit',
    ),
    range: choice('statistic that a static range comes from', ['auto', 'minmax', 'ema', 'token'], 'auto'),
  },
  needs: ['sites', 'folded'],
  gives: ['quantized'],
  observes: [reductions.range, reductions.average, reductions.tokenRange],
  run(graph, ctx, settings) {
    const scheme = schemeNamed(settings.scheme);
    if (settings.zeros === 'fit') fitZeroPoints(graph, scheme, settings, ctx);
    reportGrowing(graph, scheme, settings, ctx);
    for (const site of sites(graph)) quantizeSite(graph, site, scheme, layoutAt(site, settings), ctx);
    for (const linear of linearsOf(graph)) reportFloat(graph, linear, ctx);
    if (scheme.probabilities) reportProbabilities(graph, ctx);
    eraseDead(graph);
  },
});

function quantizeSite(graph: Graph, site: Site, scheme: Scheme, settings: Settings, ctx: PassContext): void {
  const consumers = linearsOf(graph).filter((l) => l.input === site.y);
  if (scheme.weights) for (const linear of consumers) roundWeight(graph, linear, site, scheme.weights, settings, ctx);
  const activation = activationAt(scheme, site, settings);
  const statistics = statisticsAt(site);
  if (!activation) return bypass(graph, site);
  if (!statistics && activation.range === 'static' && settings.activations !== 'block') {
    for (const l of consumers) ctx.ledger.left('linear', nameOf(l.node), 'its input stays in float: no calibration');
    ctx.report(diagnostic('QC3301', `%${site.key} stays in float: its observer has seen nothing`, site.node.loc));
    return bypass(graph, site);
  }
  const attention = attentionFed(site.y);
  const what =
    settings.activations === 'block' || activation.range === 'token'
      ? dynamic(graph, site, activation, settings)
      : fixed(graph, site, activation, statistics!, settings);
  for (const l of consumers) ctx.ledger.done('linear', nameOf(l.node), what);
  if (attention) ctx.ledger.done('attention', nameOf(attention), `${site.role} at ${activation.bits} bits`);
  ctx.count('activations');
}

/** The growth of ranges by twice the samples from which on the user hears of it. */
const notable = 0.1;

/** Says where static ranges would be much wider if there were more samples. */
function reportGrowing(graph: Graph, scheme: Scheme, settings: Settings, ctx: PassContext): void {
  const seen = sites(graph).flatMap((site) => {
    const statistics = activationAt(scheme, site, settings)?.range === 'static' ? statisticsAt(site) : null;
    return statistics ? [{ site, samples: statistics.samples, growth: growth(statistics) }] : [];
  });
  const growing = seen.filter((s) => s.growth > notable).toSorted((a, b) => b.growth - a.growth);
  const [most] = growing;
  if (!most || settings.activations === 'block') return;
  const what = `the ranges of ${growing.length} of ${seen.length} inputs still grow after ${most.samples} samples`;
  ctx.report(diagnostic('QC3203', `${what}: with twice as many, by ${Math.round(100 * most.growth)} % at %${most.site.key}`));
}

/**
 * RPTQ's zero points are not bounded by their codes. Where one would not fit, the site is quantized as x - o, o being the whole
 * steps that are too many; folding puts -o into what makes x and o W into the bias of what reads it, so that nothing is left.
 */
function fitZeroPoints(graph: Graph, scheme: Scheme, settings: Settings, ctx: PassContext): void {
  for (const site of sites(graph)) {
    const activation = activationAt(scheme, site, settings);
    const statistics = statisticsAt(site);
    if (!activation || !statistics || activation.range === 'token' || settings.activations === 'block') continue;
    const range = rangeFor(statistics, site, activation, settings);
    const sizes = channelGroups(range.min.length, site, settings);
    const bounds = codeRange(activation.bits, activation.symmetric);
    const parameters = staticParameters(range, sizes, activation, settings);
    const excess = groupIndex(sizes).map((g) => {
      const { scale, zero } = parameters[g]!;
      return scale * (Math.min(Math.max(zero, bounds.min), bounds.max) - zero);
    });
    if (excess.every((o) => o === 0)) continue;
    changeBasis(graph, site, translation(excess.map((o) => -o)));
    ctx.count('zero points moved');
  }
  fold(graph, { ledger: ctx.ledger, count: () => {} });
}

/** Scale and zero point of each group of channels. */
function staticParameters(
  range: ChannelRange,
  sizes: readonly number[],
  activation: ActivationScheme,
  settings: Settings,
): readonly QuantParameters[] {
  const grid = gridFor(activation, sizes, settings.grid);
  return groupRanges(range, sizes).map(([lo, hi]) => parametersFor(lo, hi, { ...activation, grid }));
}

/** Takes site and observer out. */
function bypass(graph: Graph, site: Site): void {
  graph.replaceUses(site.y, sourceOf(site));
  graph.erase(site.node);
}

/** What stands in front of the observer. */
const sourceOf = (site: Site): Value => observerOf(site)?.x ?? site.x;

function fixed(graph: Graph, site: Site, activation: ActivationScheme, statistics: Statistics, settings: Settings): string {
  const range = rangeFor(statistics, site, activation, settings);
  const sizes = channelGroups(range.min.length, site, settings);
  const parameters = staticParameters(range, sizes, activation, settings);
  const bounds = codeRange(activation.bits, activation.symmetric);
  const build = Builder.before(site.node, site.key);
  const made = build.make(
    FakeQuantize,
    {
      x: sourceOf(site),
      scale: build.vector(
        'scale',
        parameters.map((p) => p.scale),
      ),
      zero: build.vector(
        'zero',
        parameters.map((p) => p.zero),
      ),
      index: build.ints('group', groupIndex(sizes)),
    },
    { attributes: { qmin: int(bounds.min), qmax: int(bounds.max) }, like: site.y },
  );
  graph.replace(site.y, made.y);
  graph.erase(site.node);
  const clusters = sizes.length > 1 ? `, ${sizes.length} clusters` : '';
  return `input at ${activation.bits} bits${clusters}, range from ${rangeText(statistics, site, activation, settings)}`;
}

function dynamic(graph: Graph, site: Site, activation: ActivationScheme, settings: Settings): string {
  const block = runTimeBlock(channelsAt(site) ?? statisticsAt(site)?.range.min.length ?? null, settings);
  const symmetric = settings.activations === 'block' || activation.symmetric;
  const bounds = codeRange(activation.bits, symmetric);
  const attributes = {
    qmin: int(bounds.min),
    qmax: int(bounds.max),
    symmetric: int(symmetric ? 1 : 0),
    block: int(block),
  };
  graph.replace(site.y, Builder.before(site.node).make(DynamicQuantize, { x: sourceOf(site) }, { attributes, like: site.y }).y);
  graph.erase(site.node);
  return `input at ${activation.bits} bits, per token${block > 0 ? ` and block of ${block}` : ''}`;
}

const gridFor = (activation: ActivationScheme, sizes: readonly number[], grid: Settings['grid']): Grid =>
  grid === 'auto' ? clusterGrid(activation, sizes) : grid;

/** The range of every channel that the statistic of choice gives. */
function rangeFor(s: Statistics, site: Site, activation: ActivationScheme, settings: Settings): ChannelRange {
  switch (settings.range) {
    case 'minmax':
      return s.range;
    case 'ema':
      return averageOf(s);
    case 'token':
      return clippedByTokens(s);
    case 'auto':
      return usualRange(s, activation, channelGroups(s.range.min.length, site, settings));
  }
}

/** What a static range comes from, for the ledger. */
function rangeText(s: Statistics, site: Site, activation: ActivationScheme, settings: Settings): string {
  const auto = usualRangeName(s, activation, channelGroups(s.range.min.length, site, settings));
  const names = { minmax: 'extremes', ema: 'average', token: 'quantiles of token extremes', auto };
  return `the ${names[settings.range]} of ${s.samples} sample${s.samples === 1 ? '' : 's'}`;
}

function clippedByTokens(s: Statistics): ChannelRange {
  const tokens = s.get(reductions.tokenRange);
  return tokens ? clipped(s.range, quantile(tokens.min, 0.005), quantile(tokens.max, 0.995)) : s.range;
}

const clipped = ({ min, max }: ChannelRange, low: number, high: number): ChannelRange => ({
  min: min.map((x) => Math.max(x, low)),
  max: max.map((x) => Math.min(x, high)),
});

/** Gives a weight its quantizer, unless a pass before has done so. */
function roundWeight(graph: Graph, linear: Linear, site: Site, scheme: WeightScheme, settings: Settings, ctx: PassContext): void {
  if (isWeightQuantized(linear)) return;
  const grid = nearestGrid(linear, scheme, weightGrouping(linear, site, scheme, settings));
  quantizeWeight(graph, linear, linear.weight, grid, scheme, '', ctx);
}

function reportFloat(graph: Graph, linear: Linear, ctx: PassContext): void {
  if (!isWeightQuantized(linear) && !isHead(graph, linear))
    ctx.ledger.left('linear', nameOf(linear.node), 'its weight stays in float: no site before it');
}

function reportProbabilities(graph: Graph, ctx: PassContext): void {
  for (const node of attentionsOf(graph))
    ctx.ledger.left('attention', nameOf(node), `softmax results stay in float: ${node.op} is one operator`);
}
