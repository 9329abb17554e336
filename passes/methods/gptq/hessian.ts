import { fail } from '../../../ir/diagnostics.ts';
import type { Gram } from '../../observe/reductions/gram.ts';
import { factorize, type Square } from './factor.ts';
import type { Products } from './products.ts';

/** The centred Hessian of what a site feeds, H = E[x x^T] - m m^T with m = E[x], ready to round weights by. */
export interface Hessian {
  /** The row of the weight that is rounded first, second, ...: [in]. */
  readonly order: Uint32Array;
  /** M, upper triangular, with M M^T = the damped H in that order of rows and columns. */
  readonly factor: Square;
  /** The diagonal of H without damping, in the order of the site: the variance of each channel. */
  readonly variance: Float32Array;
  /** m. */
  readonly mean: Float32Array;
}

export interface HessianSettings {
  /** What is added to the diagonal, as a part of its mean. */
  readonly damping: number;
  /** Rows of large variance first, or rows as they come. */
  readonly order: 'variance' | 'given';
}

/** With more damping than this the Hessian is hardly there; rounding errors of its own cannot be the reason. */
const mostDamping = 100;

/** Factorizes the Hessian of a site. Where rounding has left a matrix that is not positive definite, damping grows tenfold. */
export async function hessianOf({ matrix, mean }: Gram, settings: HessianSettings, products: Products, key: string): Promise<Hessian> {
  const size = mean.length;
  const variance = mean.map((m, i) => Math.max(matrix[i * size + i]! - m * m, 0));
  const order = Uint32Array.from(mean, (_, i) => i);
  if (settings.order === 'variance') order.sort((a, b) => variance[b]! - variance[a]! || a - b);
  const average = variance.reduce((sum, v) => sum + v, 0) / size || 1;
  for (let damping = settings.damping; damping <= mostDamping; damping = damping * 10 || 1e-6) {
    const factor = centred(matrix, mean, order, damping * average);
    if (await factorize(factor, products)) return { order, factor, variance, mean };
  }
  return fail('QC2107', `the Hessian at %${key} is infinite or no numbers`);
}

/** E[x x^T] - m m^T with `more` on the diagonal, rows and columns in an order. */
function centred(matrix: Float32Array, mean: Float32Array, order: Uint32Array, more: number): Square {
  const size = mean.length;
  const data = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    const [row, m, to] = [order[i]! * size, mean[order[i]!]!, i * size];
    for (let j = 0; j < size; j++) data[to + j] = matrix[row + order[j]!]! - m * mean[order[j]!]!;
    data[to + i] = Math.max(data[to + i]!, 0) + more;
  }
  return { size, data };
}
