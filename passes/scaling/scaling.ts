import { standardize, translation, type ChannelTransform } from '../../ir/channel.ts';
import type { Reduction } from '../infra/reduction.ts';
import { movedStatistics, type Statistics } from '../observe/statistics.ts';
import type { ScaledSite } from './scaled-site.ts';
import { meanOfTied, rowMaxima, widthsFor, type Exponents } from './widths.ts';

/** A rule for the widths of a site's channels, by an exponent alpha. */
export interface WidthRule {
  readonly observes: readonly Reduction<unknown>[];
  /** The magnitude of each channel [C]; null where a change of basis has made it unknown. */
  readonly magnitude: (s: Statistics) => ArrayLike<number> | null;
  /** Why the magnitudes are unknown. */
  readonly unknown: string;
  readonly exponents: (alpha: number) => Exponents;
  /** The exponents that the search tries. */
  readonly grid: readonly number[];
}

/** One way to centre the channels of a site and divide them by widths. */
export interface Scaling {
  readonly centre: Float64Array;
  readonly width: Float64Array;
  /** Null where all widths are 1. */
  readonly alpha: number | null;
}

export const transformOf = ({ centre, width }: Scaling): ChannelTransform => standardize(centre, width);

/** Where the channels of a site may be centred: at 0, and in the middle of their ranges where the site takes a shift. */
export function centresOf({ statistics: { range }, freedom: { can, leaders } }: ScaledSite, shift: boolean): readonly Float64Array[] {
  const nought = new Float64Array(range.min.length);
  const middle = nought.map((_, j) => (range.min[j]! + range.max[j]!) / 2);
  return shift && can.shift && middle.some((z) => z !== 0) ? [nought, meanOfTied(middle, leaders)] : [nought];
}

/** The site centred but not scaled, then scaled by each exponent of the grid; null where the magnitudes of its channels are not known. */
export function scalingsOf(rule: WidthRule, t: ScaledSite, centre: Float64Array): readonly Scaling[] | null {
  const scaled = scaledBy(rule, t, centre, rule.grid);
  return scaled && [{ centre, width: centre.map(() => 1), alpha: null }, ...scaled];
}

/** The site scaled by some exponents, its channels centred at one place; null as above. */
export function scaledBy(rule: WidthRule, t: ScaledSite, centre: Float64Array, alphas: readonly number[]): readonly Scaling[] | null {
  const magnitude = rule.magnitude(movedStatistics(t.statistics, translation(centre.map((z) => 0 - z))));
  const rows = rowMaxima(t.region.linears.map((l) => l.weight.constant!));
  return (
    magnitude && alphas.map((alpha) => ({ centre, alpha, width: widthsFor(magnitude, rows, rule.exponents(alpha), t.freedom.leaders) }))
  );
}
