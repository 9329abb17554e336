import type { Feeds, Program } from '../infra/executor.ts';
import { names } from './loss-settings.ts';

/** One captured sample: the feeds of the loss graph that do not depend on the candidate, and how many tokens count. */
export interface LossSample {
  readonly feeds: Feeds;
  readonly tokens: number;
}

/** How many tokens count in all. */
export const tokensIn = (samples: readonly LossSample[]): number => samples.reduce((n, s) => n + s.tokens, 0);

/** The losses of the candidates in `feeds`, summed over samples and tokens. */
export async function lossesOf(program: Program, samples: readonly LossSample[], feeds: Feeds): Promise<readonly number[]> {
  let sums: readonly number[] | null = null;
  for (const sample of samples) {
    const result = Array.from((await program.run({ ...sample.feeds, ...feeds }))[names.losses]!.data, Number);
    sums = sums === null ? result : sums.map((x, k) => x + result[k]!);
  }
  return sums ?? [];
}

/**
 * `stacked` if it gives the losses that the samples give apart, else those: constants inside may be made for one batch, so that a Reshape
 * or a mask refuses a larger one, or mixes its rows.
 */
export async function sameLoss(
  program: Program,
  stacked: readonly LossSample[],
  apart: readonly LossSample[],
  feeds: Feeds,
): Promise<readonly LossSample[]> {
  if (stacked.length === apart.length) return stacked;
  const wanted = await lossesOf(program, apart, feeds);
  // A refusal says the same as another number.
  const found = await lossesOf(program, stacked, feeds).catch(() => []);
  return wanted.every((x, k) => Math.abs((found[k] ?? NaN) - x) <= 1e-3 * Math.abs(x)) ? stacked : apart;
}
