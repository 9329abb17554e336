import type { Samples } from '../infra/pass.ts';

/** Samples of even and of odd numbers, so that both halves are spread over the data. What comes behind the samples is left out. */
export function halves(samples: Samples): readonly [Samples, Samples] {
  const from = (first: number): Samples => ({ length: Math.ceil((samples.length - first) / 2), at: (s) => samples.at(2 * s + first) });
  return [from(0), from(1)];
}
