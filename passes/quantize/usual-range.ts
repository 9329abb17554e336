import type { ChannelRange } from '../../ir/channel.ts';
import type { ActivationScheme } from '../../ir/scheme.ts';
import { reductions } from '../observe/reductions/index.ts';
import type { Statistics } from '../observe/statistics.ts';

/** An average of fewer samples, or of shorter ones, clips what the next sample brings: their extremes are too far from those of the data. */
const fewest = { samples: 16, tokens: 64 };

/** Whether the samples are enough for their average to stand for the data. */
const isAverageSound = ({ samples, tokens }: Statistics): boolean => samples >= fewest.samples && tokens / samples >= fewest.tokens;

/** The statistic that static scales come from unless an option says otherwise. */
export type RangeName = 'average' | 'widened average' | 'extremes' | 'widened extremes';

/**
 * As long as there are enough samples, the moving average in RPTQ's own schemes and a widened one for clusters below 8 bits, where clipping
 * rare extremes gains more than it costs; the extremes elsewhere. Clusters of 8 bits and more have steps to spare for what lies beyond the
 * extremes.
 */
export function usualRangeName(s: Statistics, activation: ActivationScheme, groups: readonly number[]): RangeName {
  const clustered = groups.length > 1;
  if (activation.grid === 'rptq' && isAverageSound(s)) return 'average';
  if (clustered && activation.bits < 8 && isAverageSound(s)) return 'widened average';
  return clustered && activation.bits >= 8 ? 'widened extremes' : 'extremes';
}

/** The range of every channel that `usualRangeName` names. */
export function usualRange(s: Statistics, activation: ActivationScheme, groups: readonly number[]): ChannelRange {
  const ranges = {
    average: () => averageOf(s),
    'widened average': () => spread(averageOf(s), marginAt(activation.bits)),
    extremes: () => s.range,
    'widened extremes': () => widened(s),
  };
  return ranges[usualRangeName(s, activation, groups)]();
}

/** The moving average of the extremes; the extremes of all samples where it is not known. */
export const averageOf = (s: Statistics): ChannelRange => s.get(reductions.average) ?? s.range;

/**
 * How many times as wide as the average of the samples a range is made: with each bit the steps are finer, so that what lies beyond the range
 * weighs more (opt-mini, rptq,os+ from 32 samples, perplexity on 100 windows: w4a4 75.6 with the average and 78.3 with 1.2 times its width, w8a6
 * 71.12, 70.93 with 1.1, 70.91 with 1.2 and 70.95 with 1.3).
 */
const marginAt = (bits: number): number => 1 + Math.max(0, bits - 4) / 10;

/** Ranges about the same centres that are `factor` times as wide. */
export function spread({ min, max }: ChannelRange, factor: number): ChannelRange {
  const beyond = min.map((lo, j) => ((factor - 1) * (max[j]! - lo)) / 2);
  return { min: min.map((lo, j) => lo - beyond[j]!), max: max.map((hi, j) => hi + beyond[j]!) };
}

/** How many times the calibration data a widened range is made for. */
const unseen = 1000;

/** The extremes, widened for `unseen` times as many samples (section 1.5 of docs/methods.md). */
export function widened(s: Statistics): ChannelRange {
  const [below, above] = beyond(s, unseen);
  return { min: s.range.min.map((x) => x - below), max: s.range.max.map((x) => x + above) };
}

/** How much wider, by the width, the extremes of a site would be with twice the samples; 0 where one sample does not tell. */
export function growth(s: Statistics): number {
  const [below, above] = beyond(s, 2);
  const width = meanDifference(s.range.max, s.range.min);
  return width > 0 ? (below + above) / width : 0;
}

/**
 * How far the extremes of `times` as many samples lie below and above those that were seen. If the extremes of single samples have a tail
 * exp(-x / b), those of n samples lie b ln n beyond their average, and those of r n samples another b ln r. The channels of a site share b,
 * because one that was quiet in all samples does not tell how far it goes when it is not.
 */
function beyond(s: Statistics, times: number): readonly [below: number, above: number] {
  const average = averageOf(s);
  const factor = s.samples > 1 ? Math.log(times) / Math.log(s.samples) : 0;
  return [factor * meanDifference(average.min, s.range.min), factor * meanDifference(s.range.max, average.max)];
}

const meanDifference = (a: Float32Array, b: Float32Array): number => a.reduce((sum, x, i) => sum + x - b[i]!, 0) / a.length;
