import type { Feeds, Program } from '../infra/executor.ts';
import { names } from './loss-settings.ts';
import { beside, coarse, fine } from './two-pass.ts';

export interface Found {
  readonly threshold: number;
  readonly loss: number;
}

/** One captured sample: the feeds of the loss graph that do not depend on the threshold, and how many tokens count. */
export interface LossSample {
  readonly feeds: Feeds;
  readonly tokens: number;
}

/** What a search looks through: the loss graph, its samples, and the candidates with their feeds. */
export interface SearchSpace {
  readonly program: Program;
  readonly samples: readonly LossSample[];
  /** Descending. */
  readonly thresholds: readonly number[];
  readonly feedsFor: (thresholds: readonly number[]) => Feeds;
}

/** `two-pass` looks at a few thresholds, then at some around the best of them, and at last at those beside the best; `exhaustive` at all of them. */
export type SearchKind = 'two-pass' | 'exhaustive';

/** The threshold with the least mean loss of those that are tried; the largest of equals. Null when there is no candidate. */
export async function search(space: SearchSpace, kind: SearchKind, signal: AbortSignal): Promise<Found | null> {
  const every = space.thresholds.map((_, i) => i);
  if (every.length === 0) return null;
  if (kind === 'exhaustive') return best(space, await losses(space, every, signal));
  const places = coarse(space.thresholds);
  const found = await losses(space, places, signal);
  const around = fine(
    places,
    places.map((i) => found.get(i)!),
  );
  for (const [place, loss] of await losses(space, around, signal)) found.set(place, loss);
  const last = beside(new Set(found.keys()), leastIn(found), every.length);
  for (const [place, loss] of await losses(space, last, signal)) found.set(place, loss);
  return best(space, found);
}

/** The place of the least loss; the first, and so the largest threshold, of equals. */
const leastIn = (found: ReadonlyMap<number, number>): number =>
  [...found].reduce((a, b) => (b[1] < a[1] || (b[1] === a[1] && b[0] < a[0]) ? b : a))[0];

function best({ thresholds, samples }: SearchSpace, found: ReadonlyMap<number, number>): Found {
  const at = leastIn(found);
  return { threshold: thresholds[at]!, loss: found.get(at)! / samples.reduce((n, s) => n + s.tokens, 0) };
}

/** Candidates of one run: as many as make its overhead small, so few that a search can be stopped. */
const together = 16;

/** The losses of the candidates at some places, summed over samples and tokens. */
async function losses(space: SearchSpace, places: readonly number[], signal: AbortSignal): Promise<Map<number, number>> {
  const found = new Map<number, number>();
  for (let start = 0; start < places.length; start += together) {
    signal.throwIfAborted();
    const some = places.slice(start, start + together);
    const feeds = space.feedsFor(some.map((i) => space.thresholds[i]!));
    const sums = await lossesOf(space.program, space.samples, feeds);
    some.forEach((i, k) => found.set(i, sums[k]!));
  }
  return found;
}

/** The sums over samples. */
async function lossesOf(program: Program, samples: readonly LossSample[], feeds: Feeds): Promise<readonly number[]> {
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
