import { permAt, scaleAt } from '../../../ir/channel.ts';
import type { Reduction } from '../../infra/reduction.ts';
import { elementsOf, pooled, reduced, vector } from './vectors.ts';

/** The mean of |x| in each channel over all tokens, [channels]. Lost when channels are shifted. */
export const meanAbs: Reduction<Float32Array> = {
  name: 'mean-abs',
  emit: (rows) => ({ sum: reduced(rows, 'ReduceL1', rows.filled(0), 0) }),
  ofSample: ({ sum }, tokens) => sum!.map((x) => x / tokens),
  merge: (a, b) => pooled(a, b, (m) => m),
  moved: (m, t) => (t.shift ? null : m.map((_, i) => m[permAt(t, i)]! * Math.abs(scaleAt(t, i)))),
  write: (m) => ({ mean_abs: vector(m) }),
  read: (attributes) => elementsOf(attributes.get('mean_abs')),
};
