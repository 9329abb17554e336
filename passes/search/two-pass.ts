/** How many candidates the two passes of the search take at most, both ends of the coarse one included. */
const passSizes = { coarse: 16, fine: 8 };

/** Places in a list of `count` candidates, evenly spread from the first to the last. */
export const coarse = (count: number): readonly number[] => spread(0, count - 1, Math.min(count, passSizes.coarse));

/** Places between the neighbours of `best` among the coarse ones, evenly spread, without those three. */
export function fine(tried: readonly number[], best: number): readonly number[] {
  const at = tried.indexOf(best);
  const [before, after] = [tried[at - 1] ?? best, tried[at + 1] ?? best];
  const between = Array.from({ length: Math.max(0, after - before - 1) }, (_, i) => before + 1 + i).filter((i) => i !== best);
  return spread(0, between.length - 1, Math.min(between.length, passSizes.fine)).map((i) => between[i]!);
}

/** `count` different whole numbers from `first` to `last`, as evenly as they go. */
const spread = (first: number, last: number, count: number): readonly number[] =>
  Array.from({ length: count }, (_, k) => (count === 1 ? first : Math.round(first + (k * (last - first)) / (count - 1))));
