import { groupIndex, parametersFor, type QuantParameters } from '../../ir/quant.ts';
import type { ChannelRange } from '../../ir/statistics.ts';
import type { Feeds, HostTensor, Program } from '../infra/executor.ts';
import { groupRanges } from '../quantize/layout.ts';
import type { ActivationScheme } from '../../ir/scheme.ts';
import { coarse, fine } from '../methods/os-plus/candidates.ts';
import { names } from './loss-graph.ts';

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

/** `two-pass` looks at a few thresholds and then at some beside the best of them; `exhaustive` at all of them. */
export type SearchKind = 'two-pass' | 'exhaustive';

/** The threshold with the least mean loss of those that are tried; the largest of equals. Null when there is no candidate. */
export async function search(space: SearchSpace, kind: SearchKind, signal: AbortSignal): Promise<Found | null> {
  const every = space.thresholds.map((_, i) => i);
  if (every.length === 0) return null;
  if (kind === 'exhaustive') return best(space, await losses(space, every, signal));
  const tried = coarse(every.length);
  const first = await losses(space, tried, signal);
  const around = fine(tried, leastIn(first));
  return best(space, new Map([...first, ...(await losses(space, around, signal))]));
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
async function losses(space: SearchSpace, places: readonly number[], signal: AbortSignal): Promise<ReadonlyMap<number, number>> {
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

/** What one candidate does to a site of C channels: widths, and the range of the channels after centring and scaling. */
export interface Candidate {
  readonly threshold: number;
  readonly width: Float64Array;
  readonly range: ChannelRange;
}

/** The inputs of the loss graph that candidates decide, [K, C] each: widths and, for a static quantizer, scales and zero points. */
export function candidateFeeds(candidates: readonly Candidate[], activation: ActivationScheme | null, groups: readonly number[]): Feeds {
  const widths = rows(candidates.map((c) => c.width));
  if (!activation || activation.range === 'token') return { [names.widths]: widths };
  const parameters = candidates.map((c) => channelParameters(c, activation, groups));
  return {
    [names.widths]: widths,
    [names.scales]: rows(parameters.map((of) => of.map((p) => p.scale))),
    [names.zeros]: rows(parameters.map((of) => of.map((p) => p.zero))),
  };
}

function rows(vectors: readonly ArrayLike<number>[]): HostTensor {
  const width = vectors[0]?.length ?? 0;
  const data = new Float32Array(vectors.length * width);
  vectors.forEach((v, k) => data.set(v, k * width));
  return { dtype: 'f32', shape: [vectors.length, width], data };
}

/** One quantizer for all channels has the range (-t, t), as in the released code; groups have the range of their channels. */
function channelParameters(
  { threshold, range }: Candidate,
  activation: ActivationScheme,
  groups: readonly number[],
): readonly QuantParameters[] {
  const ranges = groups.length === 1 ? [[-threshold, threshold] as const] : groupRanges(range, groups);
  const parameters = ranges.map(([lo, hi]) => parametersFor(lo, hi, activation));
  return groupIndex(groups).map((g) => parameters[g]!);
}
