import { apply } from '../../../ir/channel.ts';
import type { Reduction } from '../../infra/reduction.ts';
import { elementsOf, pooled, reduced, vector } from './vectors.ts';

/** The mean of each channel over all tokens, [channels]. */
export const mean: Reduction<Float32Array> = {
  name: 'mean',
  emit: (rows) => ({ sum: reduced(rows, 'ReduceSum', rows.filled(0), 0) }),
  ofSample: ({ sum }, tokens) => sum!.map((x) => x / tokens),
  merge: (a, b) => pooled(a, b, (m) => m),
  moved: (m, t) => apply(t, m, [t.size], 0),
  write: (m) => ({ mean: vector(m) }),
  read: (attributes) => elementsOf(attributes.get('mean')),
};
