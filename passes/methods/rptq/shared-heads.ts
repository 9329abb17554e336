import { permAt, type ChannelRange, type ChannelTransform } from '../../../ir/channel.ts';

/**
 * The channels of a site with more heads, as those of a site with fewer that share an order with it: query heads that share a key head are
 * ordered as it is.
 */
export interface SharedHeads {
  /** Channels of a head. */
  readonly width: number;
  /** Neighbouring heads that share one. */
  readonly shared: number;
}

/** Sites of equally many channels share theirs one by one. */
export const oneByOne = (size: number): SharedHeads => ({ width: size, shared: 1 });

const channelIn = ({ width, shared }: SharedHeads, i: number): number => Math.floor(i / (width * shared)) * width + (i % width);

/** The range of all channels that share one. */
export function pooledRange({ min, max }: ChannelRange, heads: SharedHeads): ChannelRange {
  const size = min.length / heads.shared;
  const pooled = { min: new Float32Array(size).fill(Infinity), max: new Float32Array(size).fill(-Infinity) };
  for (let i = 0; i < min.length; i++) {
    const c = channelIn(heads, i);
    pooled.min[c] = Math.min(pooled.min[c]!, min[i]!);
    pooled.max[c] = Math.max(pooled.max[c]!, max[i]!);
  }
  return pooled;
}

/** For every channel what the one that it shares has. */
export const spread = <T>(values: readonly T[], heads: SharedHeads): readonly T[] =>
  Array.from({ length: values.length * heads.shared }, (_, i) => values[channelIn(heads, i)]!);

/** Whether an order of the site with more heads is that of the other one in every head. */
export const isSpread = (wide: ChannelTransform, narrow: ChannelTransform, heads: SharedHeads): boolean =>
  Array.from({ length: wide.size }, (_, i) => i).every((i) => channelIn(heads, permAt(wide, i)) === permAt(narrow, channelIn(heads, i)));
