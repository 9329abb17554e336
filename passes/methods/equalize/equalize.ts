import { reductions } from '../../observe/reductions/index.ts';
import { scalingPass } from '../../scaling/scaling-pass.ts';

/**
 * s_j = (rms(x_j) / max |w_j|)^alpha, after centring: what a channel adds to the error of the activations' quantizer and of the weights' is
 * evened out between the two. alpha is searched for each site as AWQ does.
 */
export const equalize = scalingPass({
  name: 'equalize',
  summary: 'centre channels and divide them by (rms of the channel / largest weight)^alpha',
  observes: [reductions.rms],
  magnitude: (s) => s.get(reductions.rms)?.rms ?? null,
  unknown: 'the RMS of its channels was not observed',
  exponents: (alpha) => ({ activation: alpha, weight: alpha }),
  grid: [1, 2, 3, 4, 5, 6, 7, 8].map((n) => n / 8),
  shift: true,
  traits: ['equalized'],
});
