import { reductions } from '../../observe/reductions/index.ts';
import { scalingPass } from '../../scaling/scaling-pass.ts';

/** AWQ (Lin et al. 2023, eq. 4 and 5): s_j = mean |x_j|^alpha, alpha on a grid of 20 from 0 to 0.95. */
export const awq = scalingPass({
  name: 'awq',
  summary: 'divide channels by mean |x|^alpha, which protects the weights that large activations meet (AWQ)',
  observes: [reductions.meanAbs],
  magnitude: (s) => s.get(reductions.meanAbs),
  unknown: 'the mean of |x| is not known behind a shift',
  exponents: (alpha) => ({ activation: alpha, weight: 0 }),
  // The 20th, 0, is the site as it is.
  grid: Array.from({ length: 19 }, (_, n) => (n + 1) / 20),
  shift: false,
  traits: [],
});
