import type { Layout } from '../../ir/layout.ts';
import type { Site } from '../../ir/ops/qc.ts';
import type { Grid } from '../../ir/quant.ts';
import type { ActivationScheme } from '../../ir/scheme.ts';
import type { ChannelRange } from '../../ir/channel.ts';
import { reductions } from '../observe/reductions/index.ts';
import type { Statistics } from '../observe/statistics.ts';
import { choice, flag, int } from '../infra/options.ts';

/** The options of a `Layout`, the same for every pass that quantizes. */
export const layoutOptions = {
  weights: choice('rows of a weight that share a scale: those of a cluster (auto), all, or blocks', ['auto', 'channel', 'block'], 'auto'),
  activations: choice(
    "the scheme's (auto), one static scale in spite of clusters (tensor), or symmetric for each token and block at run time (block)",
    ['auto', 'tensor', 'block'],
    'auto',
  ),
  block: int('channels in a block', 32, 1),
  multiples: flag('make the scales of a weight whole multiples of one for each channel, so that 8-bit integers carry it', false),
} as const;

/** The runs of rows of a weight that share scales. */
export function rowGroups(rows: number, site: Site, { weights, block }: Layout): readonly number[] {
  if (weights === 'auto') return site.groups ?? [rows];
  if (weights === 'channel') return [rows];
  return Array.from({ length: Math.ceil(rows / block) }, (_, i) => Math.min(block, rows - i * block));
}

/** Clusters lie far from zero as a rule, so that a grid that must reach it would waste most of its steps: they take RPTQ's. */
export const clusterGrid = (activation: ActivationScheme, groups: readonly number[]): Grid =>
  groups.length > 1 && !activation.symmetric ? 'rptq' : activation.grid;

/** An average of fewer samples, or of shorter ones, clips what the next sample brings: their extremes are too far from those of the data. */
const fewest = { samples: 16, tokens: 64 };

/** Whether the samples are enough for their average to stand for the data. */
const isAverageSound = ({ samples, tokens }: Statistics): boolean => samples >= fewest.samples && tokens / samples >= fewest.tokens;

/** The statistic that static scales come from unless an option says otherwise. */
export type RangeName = 'average' | 'extremes' | 'widened extremes';

/**
 * The moving average in RPTQ's own schemes, and for clusters below 8 bits, where clipping rare extremes gains more than it costs (opt-mini,
 * rptq w8a6 from 32 samples: perplexity 75.01 for 75.10), as long as there are enough samples; the extremes elsewhere. Clusters of 8 bits and
 * more have steps to spare for what lies beyond the extremes.
 */
export function usualRangeName(s: Statistics, activation: ActivationScheme, groups: readonly number[]): RangeName {
  const clustered = groups.length > 1;
  if ((activation.grid === 'rptq' || (clustered && activation.bits < 8)) && isAverageSound(s)) return 'average';
  return clustered && activation.bits >= 8 ? 'widened extremes' : 'extremes';
}

/** The range of every channel that `usualRangeName` names. */
export function usualRange(s: Statistics, activation: ActivationScheme, groups: readonly number[]): ChannelRange {
  const ranges = { average: () => averageOf(s), extremes: () => s.range, 'widened extremes': () => widened(s) };
  return ranges[usualRangeName(s, activation, groups)]();
}

/** The moving average of the extremes; the extremes of all samples where it is not known. */
export const averageOf = (s: Statistics): ChannelRange => s.get(reductions.average) ?? s.range;

/** How many times the calibration data a widened range is made for. */
const unseen = 1000;

/**
 * The extremes, widened for `unseen` times as many samples (section 1.5 of docs/methods.md). If the extremes of single samples have a tail
 * exp(-x / b), those of n samples lie b ln n beyond their average, and those of r n samples another b ln r. The channels of a site share b,
 * because one that was quiet in all samples does not tell how far it goes when it is not.
 */
export function widened(s: Statistics): ChannelRange {
  const { samples, range } = s;
  const average = averageOf(s);
  const factor = samples > 1 ? Math.log(unseen) / Math.log(samples) : 0;
  const below = factor * meanDifference(average.min, range.min);
  const above = factor * meanDifference(range.max, average.max);
  return { min: range.min.map((x) => x - below), max: range.max.map((x) => x + above) };
}

const meanDifference = (a: Float32Array, b: Float32Array): number => a.reduce((sum, x, i) => sum + x - b[i]!, 0) / a.length;

/** Channels in a run that shares a scale found at run time; 0, the whole row, where blocks do not divide the channels. */
export const runTimeBlock = (channels: number | null, { activations, block }: Layout): number =>
  activations === 'block' && channels !== null && channels % block === 0 ? block : 0;

/** The runs of channels of a site that share a static scale. */
export const channelGroups = (channels: number, site: Site, { activations }: Layout): readonly number[] =>
  activations === 'tensor' ? [channels] : (site.groups ?? [channels]);

/** The range of each run of channels. */
export function groupRanges({ min, max }: ChannelRange, sizes: readonly number[]): readonly (readonly [number, number])[] {
  let start = 0;
  return sizes.map((n) => {
    const [lo, hi] = [min.subarray(start, start + n), max.subarray(start, start + n)];
    start += n;
    return [Math.min(...lo), Math.max(...hi)] as const;
  });
}
