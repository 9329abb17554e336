import { standardize } from '../../ir/channel.ts';
import { diagnostic, fail } from '../../ir/diagnostics.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import type { Layout } from '../../ir/layout.ts';
import type { Site } from '../../ir/ops/qc.ts';
import type { Scheme } from '../../ir/scheme.ts';
import { inferTypes } from '../../ir/shapes/infer.ts';
import { changeBasis, sites, statisticsAt } from '../../ir/site.ts';
import { moved, type Statistics } from '../../ir/statistics.ts';
import { sizeOf } from '../../ir/types.ts';
import { freedomAbove, freedomBelow, refuserAbove, refuserBelow } from '../fold-channels/freedom-at.ts';
import type { Feeds, HostTensor, Spool } from '../infra/executor.ts';
import { flag, float, int, text } from '../infra/options.ts';
import { definePass, type PassContext } from '../infra/pass.ts';
import { sweep } from '../infra/sweep.ts';
import { channelGroups, clusterGrid, layoutOptions, rowGroups, runTimeBlock, usualRange } from '../quantize/layout.ts';
import { schemeNamed } from '../schemes.ts';
import { centred, thresholds, widths } from './candidates.ts';
import { lossGraph, lossRegion, names, type LossActivation, type LossRegion } from './loss-graph.ts';
import { stacked } from './stack.ts';
import { sameLoss, search, thresholdFeeds, type Found, type LossSample } from './search.ts';

interface Settings extends Layout {
  readonly scheme: string;
  readonly shift: boolean;
  readonly threshold: number | null;
  readonly steps: number | null;
  readonly low: number;
  readonly batch: number;
}

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
    batch: int('calibration samples that the loss is measured on', 4, 1),
    ...layoutOptions,
  },
  needs: ['calibrated', 'folded'],
  breaks: ['folded'],
  traits: ['equalized'],
  async run(graph, ctx, settings) {
    inferTypes(graph);
    const targets = sites(graph).flatMap((site) => target(graph, site, settings, ctx) ?? []);
    if (targets.length === 0) return;
    if (settings.threshold === null && !ctx.services.samples?.length) {
      fail('QC2101', 'the search of os+ measures its loss on samples, and there are none', undefined, {
        hint: 'give samples with --calib, or a threshold: os+{threshold=5}',
      });
    }
    const spool = ctx.services.spool();
    try {
      if (settings.threshold === null) await capture(graph, targets, settings, spool, ctx);
      for (const [done, t] of targets.entries()) {
        await transform(graph, t, settings, spool, ctx);
        ctx.progress(done + 1, targets.length, 'sites');
      }
    } finally {
      await spool.close();
    }
  },
});

/** A site that OS+ changes, with what it knows of it. */
interface Target {
  readonly site: Site;
  readonly statistics: Statistics;
  readonly shift: boolean;
  readonly region: LossRegion;
}

function target(graph: Graph, site: Site, { shift }: Settings, ctx: PassContext): Target | null {
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

async function transform(graph: Graph, t: Target, settings: Settings, spool: Spool, ctx: PassContext): Promise<void> {
  const at = centred(t.statistics.range, t.shift);
  const found =
    settings.threshold === null ? await bestThreshold(graph, t, settings, spool, ctx) : { threshold: settings.threshold, loss: 0 };
  const width = found ? widths(at.half, found.threshold) : at.half.map(() => 1);
  changeBasis(graph, t.site, standardize(at.centre, width));
  ctx.count('sites');
  ctx.count(
    'channels scaled',
    width.reduce((n, w) => n + (w > 1 ? 1 : 0), 0),
  );
}

async function bestThreshold(graph: Graph, t: Target, settings: Settings, spool: Spool, ctx: PassContext): Promise<Found | null> {
  const { range } = t.statistics;
  const at = centred(range, t.shift);
  const largest = range.max.reduce((most, x, j) => Math.max(most, x - at.centre[j]!), 0);
  const candidates = thresholds(at.half, settings.low, settings.steps === null ? null : Math.floor(settings.steps), largest);
  const scheme = schemeNamed(settings.scheme);
  const activation = activationFor(scheme, t.site, range.min.length, settings);
  const apart = await samplesOf(t, settings, spool, ctx);
  const samples = takesBatches(t) ? stacked(apart) : apart;
  const masked = samples.every((s) => names.tokens in s.feeds);
  const groups = rowGroups(range.min.length, t.site, settings);
  const loss = lossGraph(t.region, t.site, { centre: at.centre, activation, weights: scheme.weights, groups, masked }, graph.opsets);
  const program = await ctx.services.executor.load(loss);
  try {
    const fed = new Set(loss.inputs.map((v) => v.name));
    const clusters = channelGroups(range.min.length, t.site, settings);
    const asked = scheme.activations[t.site.role];
    const feeds = (threshold: number): Feeds => {
      const width = widths(at.half, threshold);
      const then = moved(t.statistics, standardize(at.centre, width));
      return only(thresholdFeeds(threshold, width, asked ? usualRange(then, asked, clusters) : then.range, activation, clusters), fed);
    };
    const feedable = (all: readonly LossSample[]) => all.map((s) => ({ ...s, feeds: only(s.feeds, fed) }));
    const [first] = candidates;
    const chosen = first === undefined ? samples : await sameLoss(program, feedable(samples), feedable(apart), feeds(first));
    return await search(program, chosen, candidates, feeds, ctx.signal);
  } finally {
    await program.close();
  }
}

/** Whether no value that the loss reads has a fixed number of rows. */
const takesBatches = ({ site, region }: Target): boolean => [site.x, ...region.others].every((v) => typeof v.type?.shape?.[0] !== 'number');

/** The quantizer that the site will have: the scheme's, or symmetric in blocks where the target quantizes so. */
function activationFor(scheme: Scheme, site: Site, size: number, layout: Layout): LossActivation | null {
  const activation = scheme.activations[site.role];
  if (!activation) return null;
  if (layout.activations === 'block') return { ...activation, symmetric: true, range: 'token', block: runTimeBlock(size, layout) };
  return { ...activation, grid: clusterGrid(activation, channelGroups(size, site, layout)), block: 0 };
}

const only = (feeds: Feeds, wanted: ReadonlySet<string>): Feeds =>
  Object.fromEntries(Object.entries(feeds).filter(([name]) => wanted.has(name)));

/** Runs the first samples and keeps what the sites' loss graphs read. */
async function capture(graph: Graph, targets: readonly Target[], { batch }: Settings, spool: Spool, ctx: PassContext): Promise<void> {
  const samples = (ctx.services.samples ?? []).slice(0, batch);
  const wanted = new Map(targets.map((t) => [t.site.key, [t.site.x, ...t.region.others]] as const));
  await sweep(graph, samples, ctx, {
    augment(slice, twin) {
      for (const v of new Set([...wanted.values()].flat())) {
        const copy = twin.get(v);
        if (copy?.producer && !slice.outputs.includes(copy)) slice.addOutput(copy);
      }
    },
    async onSample(s, values) {
      for (const [key, reads] of wanted) {
        const here = reads.flatMap((v: Value) => (values[v.name] ? [[v.name, values[v.name]!] as const] : []));
        const isHere = values[reads[0]!.name] !== undefined;
        if (isHere) await spool.put(`${key} ${s}`, Object.fromEntries(here));
      }
    },
  });
}

async function samplesOf(t: Target, { batch }: Settings, spool: Spool, ctx: PassContext): Promise<readonly LossSample[]> {
  const count = Math.min(batch, ctx.services.samples?.length ?? 0);
  return Promise.all(
    Array.from({ length: count }, async (_, s) => {
      const values = await spool.get(`${t.site.key} ${s}`);
      const x = values[t.site.x.name]!;
      const tokens = tokenWeights(x, ctx.services.samples![s]![ctx.services.mask ?? '']);
      const feeds = { ...values, [names.x]: x, ...(tokens ? { [names.tokens]: tokens } : {}) };
      return { feeds, tokens: tokens ? (tokens.data as Float32Array).reduce((a, b) => a + b, 0) : sizeOf(x.shape.slice(0, -1)) };
    }),
  );
}

/** The mask as 0 and 1 in the shape of x's tokens, or null where it does not fit. */
function tokenWeights(x: HostTensor, mask: HostTensor | undefined): HostTensor | null {
  const shape = x.shape.slice(0, -1);
  if (!mask || sizeOf(mask.shape) !== sizeOf(shape)) return null;
  return { dtype: 'f32', shape, data: Float32Array.from(mask.data as Iterable<number | bigint>, (m) => (Number(m) === 0 ? 0 : 1)) };
}
