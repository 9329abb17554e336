import { permAt, scaleAt, shiftAt } from '../../../ir/channel.ts';
import type { Reduction } from '../../infra/reduction.ts';
import { mean } from './mean.ts';
import { elementsOf, pooled, reduced, vector } from './vectors.ts';

/** sqrt(mean(x^2)) and mean(x) of each channel over all tokens, [channels] both. The mean is what a shift needs. */
export interface RootMeanSquare {
  readonly rms: Float32Array;
  readonly mean: Float32Array;
}

export const rms: Reduction<RootMeanSquare> = {
  name: 'rms',
  emit: (rows) => ({ ...mean.emit(rows), squares: reduced(rows, 'ReduceSumSquare', rows.filled(0), 0) }),
  ofSample: ({ sum, squares }, tokens) => ({ rms: squares!.map((x) => Math.sqrt(x / tokens)), mean: mean.ofSample({ sum: sum! }, tokens) }),
  merge: (a, b) => ({
    rms: pooled(a, b, (v) => v.rms.map((x) => x * x)).map(Math.sqrt),
    mean: pooled(a, b, (v) => v.mean),
  }),
  /** mean((s x + t)^2) = s^2 mean(x^2) + 2 s t mean(x) + t^2, which rounding must not make negative. */
  moved: (v, t) => ({
    rms: v.rms.map((_, i) => {
      const [from, s, shift] = [permAt(t, i), scaleAt(t, i), shiftAt(t, i)];
      return Math.sqrt(Math.max(0, s * s * v.rms[from]! ** 2 + 2 * s * shift * v.mean[from]! + shift * shift));
    }),
    mean: mean.moved(v.mean, t)!,
  }),
  write: (v) => ({ rms: vector(v.rms), rms_mean: vector(v.mean) }),
  read(attributes) {
    const [root, average] = [elementsOf(attributes.get('rms')), elementsOf(attributes.get('rms_mean'))];
    return root && average && { rms: root, mean: average };
  },
};
