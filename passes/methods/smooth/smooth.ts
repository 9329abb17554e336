import { scalingPass } from '../../scaling/scaling-pass.ts';

/** SmoothQuant (Xiao et al. 2022, eq. 4): s_j = max |x_j|^alpha / max |w_j|^(1 - alpha). */
export const smooth = scalingPass({
  name: 'smooth',
  summary: 'divide channels by max |x|^alpha / max |w|^(1 - alpha) (SmoothQuant)',
  observes: [],
  magnitude: ({ range: { min, max } }) => max.map((hi, j) => Math.max(Math.abs(hi), Math.abs(min[j]!))),
  unknown: 'the extremes of its channels were not observed',
  exponents: (alpha) => ({ activation: alpha, weight: 1 - alpha }),
  grid: [0, 1, 2, 3, 4, 5, 6, 7, 8].map((n) => n / 8),
  shift: false,
  traits: ['equalized'],
});
