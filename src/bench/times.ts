/** What repeated times of one thing come to; milliseconds. */
export interface Times {
  readonly median: number;
  /** The quartiles: half of the times lie between them. */
  readonly lower: number;
  readonly upper: number;
  readonly least: number;
  readonly most: number;
}

export const timesOf = (samples: readonly number[]): Times => ({
  median: quantile(samples, 0.5),
  lower: quantile(samples, 0.25),
  upper: quantile(samples, 0.75),
  least: quantile(samples, 0),
  most: quantile(samples, 1),
});

/** The median over rounds of the time in a round by the base's time in the same round, so that what slows a round down cancels. */
export const ratioTo = (base: readonly number[], samples: readonly number[]): number =>
  quantile(
    samples.map((x, i) => x / base[i]!),
    0.5,
  );

/** Between the two samples that are nearest, in proportion; NaN of nothing. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)] ?? NaN, sorted[Math.ceil(at)] ?? NaN];
  return low + (at - Math.floor(at)) * (high - low);
}
