/**
 * How many candidates the search takes at most: in the coarse pass, in the fine one for all valleys together, and at last beside the best.
 * Losses are rugged, because a threshold decides which way weights round: neighbours of the best differ from it by some percent.
 */
const passSizes = { coarse: 24, fine: 8, last: 4 };
/** How many valleys of the coarse pass the fine one looks into. */
const valleyCount = 2;

/**
 * Places of thresholds that fall by about the same factor each, from the first to the last positive one. Widths are reciprocal to thresholds, so this is
 * as even in the one as in the other; most losses are least at small thresholds, where they also change most.
 */
export function coarse(thresholds: readonly number[]): readonly number[] {
  if (thresholds.length <= passSizes.coarse) return thresholds.map((_, i) => i);
  const first = thresholds[0]!;
  const last = thresholds.findLast((t) => t > 0) ?? first;
  const wanted = Array.from({ length: passSizes.coarse }, (_, k) => first * (last / first) ** (k / (passSizes.coarse - 1)));
  return [...new Set(wanted.map((x) => nearest(thresholds, x)))];
}

const nearest = (thresholds: readonly number[], x: number): number =>
  thresholds.reduce((best, t, i) => (Math.abs(t - x) < Math.abs(thresholds[best]! - x) ? i : best), 0);

/** Places between the neighbours of the deepest valleys of the coarse pass, evenly spread, given its places in order and their losses. */
export function fine(places: readonly number[], losses: readonly number[]): readonly number[] {
  const valleys = places
    .map((_, i) => i)
    .filter((i) => losses[i]! <= (losses[i - 1] ?? Infinity) && losses[i]! <= (losses[i + 1] ?? Infinity))
    .toSorted((a, b) => losses[a]! - losses[b]!)
    .slice(0, valleyCount);
  const each = Math.floor(passSizes.fine / valleys.length);
  return [...new Set(valleys.flatMap((i) => spread(between(places, i), each)))];
}

/** The places nearest to `best` of `count` that were not tried. */
export const beside = (tried: ReadonlySet<number>, best: number, count: number): readonly number[] =>
  Array.from({ length: count }, (_, place) => place)
    .filter((place) => !tried.has(place))
    .toSorted((a, b) => Math.abs(a - best) - Math.abs(b - best))
    .slice(0, passSizes.last);

/** The places beside a valley as far as its neighbours, without the three. */
function between(places: readonly number[], i: number): readonly number[] {
  const [before, at, after] = [places[i - 1] ?? places[i]!, places[i]!, places[i + 1] ?? places[i]!];
  return Array.from({ length: Math.max(0, after - before - 1) }, (_, k) => before + 1 + k).filter((place) => place !== at);
}

/** At most `count` of some places, from the first to the last as evenly as they go. */
function spread(places: readonly number[], count: number): readonly number[] {
  if (places.length <= count) return places;
  return Array.from({ length: count }, (_, k) => places[count === 1 ? 0 : Math.round((k * (places.length - 1)) / (count - 1))]!);
}
