import type { ChannelRange } from '../../../ir/channel.ts';
import type { Reduction } from '../../infra/reduction.ts';
import { range } from './range.ts';
import { elementsOf, vector, zip } from './vectors.ts';

const decay = 0.99;

/**
 * Moving average of the samples' extremes in each channel: sample i of n counts 0.99^(n - i), and the weights sum to 1. RPTQ's `ema_minmax`
 * starts at the first sample instead, which then weighs 73 % at 32 samples.
 */
export const average: Reduction<ChannelRange> = {
  ...range,
  name: 'average',
  merge(a, b) {
    // The weights of n samples sum to 1 + 0.99 + .. + 0.99^(n - 1) = (1 - 0.99^n) / 0.01, and those of `a` are older by the samples of `b`.
    const [older, newer] = [(1 - decay ** a.samples) * decay ** b.samples, 1 - decay ** b.samples];
    const joined = (end: keyof ChannelRange): Float32Array =>
      zip(a.value[end], b.value[end], (x, y) => (older * x + newer * y) / (older + newer));
    return { min: joined('min'), max: joined('max') };
  },
  join: range.merge,
  write: ({ min, max }) => ({ ema_min: vector(min), ema_max: vector(max) }),
  /** One sample is its own average, so that extremes alone are enough. */
  read(attributes) {
    const [min, max] = [elementsOf(attributes.get('ema_min')), elementsOf(attributes.get('ema_max'))];
    return min && max ? { min, max } : range.read(attributes);
  },
};
