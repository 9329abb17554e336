import { groupIndex, parametersFor, type QuantParameters } from '../../ir/quant.ts';
import type { ChannelRange } from '../../ir/statistics.ts';
import type { Feeds, HostTensor, Program } from '../infra/executor.ts';
import { groupRanges } from '../quantize/layout.ts';
import type { ActivationScheme } from '../../ir/scheme.ts';
import { names } from './loss-graph.ts';

export interface Found {
  readonly threshold: number;
  readonly loss: number;
}

/** One captured sample: the feeds of the loss graph that do not depend on the threshold, and how many tokens count. */
export interface LossSample {
  readonly feeds: Feeds;
  readonly tokens: number;
}

/** The threshold with strictly the least mean loss; the first, and so the largest, of equals. */
export async function search(
  program: Program,
  samples: readonly LossSample[],
  candidates: readonly number[],
  feedsFor: (threshold: number) => Feeds,
  signal: AbortSignal,
): Promise<Found | null> {
  let best: Found | null = null;
  const tokens = samples.reduce((n, s) => n + s.tokens, 0);
  for (const threshold of candidates) {
    signal.throwIfAborted();
    const sum = await lossOf(program, samples, feedsFor(threshold));
    if (best === null || sum / tokens < best.loss) best = { threshold, loss: sum / tokens };
  }
  return best;
}

/**
 * `stacked` if it gives the loss that the samples give apart, else those: constants inside may be made for one batch, so that a Reshape
 * or a mask refuses a larger one, or mixes its rows.
 */
export async function sameLoss(
  program: Program,
  stacked: readonly LossSample[],
  apart: readonly LossSample[],
  feeds: Feeds,
): Promise<readonly LossSample[]> {
  if (stacked.length === apart.length) return stacked;
  const wanted = await lossOf(program, apart, feeds);
  // A refusal says the same as another number.
  const found = await lossOf(program, stacked, feeds).catch(() => NaN);
  return Math.abs(found - wanted) <= 1e-3 * Math.abs(wanted) ? stacked : apart;
}

/** The sum over samples. */
async function lossOf(program: Program, samples: readonly LossSample[], feeds: Feeds): Promise<number> {
  let sum = 0;
  for (const sample of samples) sum += Number((await program.run({ ...sample.feeds, ...feeds }))[names.loss]!.data[0]);
  return sum;
}

const vector = (data: Float32Array): HostTensor => ({ dtype: 'f32', shape: [data.length], data });

/**
 * The inputs of the loss graph that a threshold decides: widths and, for a static quantizer, scale and zero point of every channel.
 * `range` is that of the channels after centring and scaling.
 */
export function thresholdFeeds(
  threshold: number,
  width: Float64Array,
  range: ChannelRange,
  activation: ActivationScheme | null,
  groups: readonly number[],
): Feeds {
  const feeds = { [names.width]: vector(Float32Array.from(width)) };
  if (!activation || activation.range === 'token') return feeds;
  const parameters = channelParameters(threshold, range, activation, groups);
  return {
    ...feeds,
    [names.scale]: vector(Float32Array.from(parameters, (p) => p.scale)),
    [names.zero]: vector(Float32Array.from(parameters, (p) => p.zero)),
  };
}

/** One quantizer for all channels has the range (-t, t), as in the released code; groups have the range of their channels. */
function channelParameters(
  threshold: number,
  range: ChannelRange,
  activation: ActivationScheme,
  groups: readonly number[],
): readonly QuantParameters[] {
  const ranges = groups.length === 1 ? [[-threshold, threshold] as const] : groupRanges(range, groups);
  const parameters = ranges.map(([lo, hi]) => parametersFor(lo, hi, activation));
  return groupIndex(groups).map((g) => parameters[g]!);
}
