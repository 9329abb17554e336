import { int, tensor } from '../../../ir/attributes.ts';
import { permAt, scaleAt, shiftAt } from '../../../ir/channel.ts';
import { dense } from '../../../ir/tensor.ts';
import { tensorType } from '../../../ir/types.ts';
import type { Reduction } from '../../infra/reduction.ts';
import { mean } from './mean.ts';
import { elementsOf, pooled, vector } from './vectors.ts';

/** X^T X / n, [channels * channels] by rows, and mean(x), [channels], over all n tokens. GPTQ's Hessian is twice the first. */
export interface Gram {
  readonly matrix: Float32Array;
  readonly mean: Float32Array;
}

export const gram: Reduction<Gram> = {
  name: 'gram',
  emit(rows) {
    const { build, channels } = rows;
    const x = rows.filled(0);
    const products = build.value('Gemm', [x, x], { transA: int(1) }, tensorType('f32', [channels, channels]));
    return { ...mean.emit(rows), products };
  },
  ofSample: ({ sum, products }, tokens) => ({
    matrix: products!.map((x) => x / tokens),
    mean: mean.ofSample({ sum: sum! }, tokens),
  }),
  merge: (a, b) => ({ matrix: pooled(a, b, (g) => g.matrix), mean: pooled(a, b, (g) => g.mean) }),
  /** With y_i = s_i x_i + t_i: mean(y_i y_j) = s_i s_j mean(x_i x_j) + s_i t_j mean(x_i) + t_i s_j mean(x_j) + t_i t_j. */
  moved(g, t) {
    const matrix = new Float32Array(g.matrix.length);
    for (let i = 0; i < t.size; i++) {
      const [row, si, ti] = [permAt(t, i), scaleAt(t, i), shiftAt(t, i)];
      const yi = si * g.mean[row]! + ti;
      for (let j = 0; j < t.size; j++) {
        const [column, sj, tj] = [permAt(t, j), scaleAt(t, j), shiftAt(t, j)];
        matrix[i * t.size + j] = sj * (si * g.matrix[row * t.size + column]! + ti * g.mean[column]!) + tj * yi;
      }
    }
    return { matrix, mean: mean.moved(g.mean, t)! };
  },
  write: (g) => ({ gram: tensor(dense([g.mean.length, g.mean.length], g.matrix)), gram_mean: vector(g.mean) }),
  read(attributes) {
    const [matrix, average] = [elementsOf(attributes.get('gram')), elementsOf(attributes.get('gram_mean'))];
    return matrix && average && { matrix, mean: average };
  },
};
