import { groupIndex, parametersFor, type QuantParameters } from '../../../ir/quant.ts';
import type { ActivationScheme } from '../../../ir/scheme.ts';
import type { ChannelRange } from '../../../ir/channel.ts';
import type { Feeds, HostTensor } from '../../infra/executor.ts';
import { groupRanges } from '../../quantize/scale-groups.ts';
import { names } from '../../search/loss-settings.ts';

/** What one candidate does to a site of C channels: widths, and the range of the channels after centring and scaling. */
export interface Candidate {
  readonly threshold: number;
  readonly width: Float64Array;
  readonly range: ChannelRange;
}

/** The inputs of the loss graph that candidates decide, [K, C] each: widths and, for a static quantizer, scales and zero points. */
export function candidateFeeds(candidates: readonly Candidate[], activation: ActivationScheme | null, groups: readonly number[]): Feeds {
  const widths = rows(candidates.map((c) => c.width));
  if (!activation || activation.range === 'token') return { [names.widths]: widths };
  const parameters = candidates.map((c) => channelParameters(c, activation, groups));
  return {
    [names.widths]: widths,
    [names.scales]: rows(parameters.map((of) => of.map((p) => p.scale))),
    [names.zeros]: rows(parameters.map((of) => of.map((p) => p.zero))),
  };
}

function rows(vectors: readonly ArrayLike<number>[]): HostTensor {
  const width = vectors[0]?.length ?? 0;
  const data = new Float32Array(vectors.length * width);
  vectors.forEach((v, k) => data.set(v, k * width));
  return { dtype: 'f32', shape: [vectors.length, width], data };
}

/** One quantizer for all channels has the range (-t, t), as in the released code; groups have the range of their channels. */
function channelParameters(
  { threshold, range }: Candidate,
  activation: ActivationScheme,
  groups: readonly number[],
): readonly QuantParameters[] {
  const ranges = groups.length === 1 ? [[-threshold, threshold] as const] : groupRanges(range, groups);
  const parameters = ranges.map(([lo, hi]) => parametersFor(lo, hi, activation));
  return groupIndex(groups).map((g) => parameters[g]!);
}
