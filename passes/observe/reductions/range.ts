import { applyToRange, type ChannelRange } from '../../../ir/channel.ts';
import type { Reduction } from '../../infra/reduction.ts';
import { elementsOf, reduced, vector, zip } from './vectors.ts';

/** The extremes of each channel over all tokens. Every calibration has them. */
export const range: Reduction<ChannelRange> = {
  name: 'range',
  emit: (rows) => ({
    min: reduced(rows, 'ReduceMin', rows.filled(Infinity), 0),
    max: reduced(rows, 'ReduceMax', rows.filled(-Infinity), 0),
  }),
  ofSample: ({ min, max }) => ({ min: min!, max: max! }),
  merge: ({ value: a }, { value: b }) => ({ min: zip(a.min, b.min, Math.min), max: zip(a.max, b.max, Math.max) }),
  moved: ({ min, max }, t) => applyToRange(t, min, max),
  write: ({ min, max }) => ({ min: vector(min), max: vector(max) }),
  read(attributes) {
    const [min, max] = [elementsOf(attributes.get('min')), elementsOf(attributes.get('max'))];
    return min && max && { min, max };
  },
};
