import type { ChannelRange } from '../../../ir/channel.ts';

/** [max, min] of each channel: the points of R1, R3, R4 and R5. */
export const rangeFeatures = ({ min, max }: ChannelRange): readonly (readonly number[])[] => Array.from(min, (lo, i) => [max[i]!, lo]);

/** [max, min] of every site of the joint, so that one order serves all: 2-D alone, 4-D for two. */
export const featuresOf = (ranges: readonly ChannelRange[]) =>
  ranges.map(rangeFeatures).reduce((a, b) => a.map((p, i) => [...p, ...b[i]!]));
