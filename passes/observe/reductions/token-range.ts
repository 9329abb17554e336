import { ints, type Attribute } from '../../../ir/attributes.ts';
import type { Reduction } from '../../infra/reduction.ts';
import { added, histogramOf, type Histogram } from '../histogram.ts';
import { reduced } from './vectors.ts';

/** The smallest and the largest element of every token. */
export interface TokenRange {
  readonly min: Histogram;
  readonly max: Histogram;
}

/** The extremes of each token over its channels, for clipping by tokens. Lost when channels are scaled or shifted. */
export const tokenRange: Reduction<TokenRange> = {
  name: 'token-range',
  emit: (rows) => ({
    min: reduced(rows, 'ReduceMin', rows.filled(Infinity), 1),
    max: reduced(rows, 'ReduceMax', rows.filled(-Infinity), 1),
  }),
  ofSample: ({ min, max }) => ({
    min: histogramOf(min!.filter((x) => x !== Infinity)),
    max: histogramOf(max!.filter((x) => x !== -Infinity)),
  }),
  merge: ({ value: a }, { value: b }) => ({ min: added(a.min, b.min), max: added(a.max, b.max) }),
  moved: (value, t) => (t.scale || t.shift ? null : value),
  write: ({ min, max }) => ({ token_min: pairs(min), token_max: pairs(max) }),
  read(attributes) {
    const [min, max] = [countsOf(attributes.get('token_min')), countsOf(attributes.get('token_max'))];
    return min && max && { min, max };
  },
};

/** Bin, count, bin, count. */
const pairs = (h: Histogram): Attribute => ints([...h].sort(([a], [b]) => a - b).flat());

function countsOf(a: Attribute | undefined): Histogram | null {
  if (a?.kind !== 'ints') return null;
  return new Map(a.value.flatMap((bin, i) => (i % 2 === 0 ? [[Number(bin), Number(a.value[i + 1])] as const] : [])));
}
