import { beside, coarse, fine } from './two-pass.ts';

export interface Found {
  readonly threshold: number;
  readonly loss: number;
}

/** What a search looks through. */
export interface SearchSpace {
  /** Descending. */
  readonly thresholds: readonly number[];
  readonly losses: (thresholds: readonly number[]) => Promise<readonly number[]>;
}

/** `two-pass` looks at a few thresholds, then at some around the best of them, and at last at those beside the best; `exhaustive` at all of them. */
export type SearchKind = 'two-pass' | 'exhaustive';

/** The threshold with the least loss of those that are tried; the largest of equals. Null when there is no candidate. */
export async function search({ thresholds, losses }: SearchSpace, kind: SearchKind): Promise<Found | null> {
  if (thresholds.length === 0) return null;
  const found = new Map<number, number>();
  const look = async (places: readonly number[]): Promise<readonly number[]> => {
    const at = await losses(places.map((i) => thresholds[i]!));
    places.forEach((i, k) => found.set(i, at[k]!));
    return at;
  };
  if (kind === 'exhaustive') {
    await look(thresholds.map((_, i) => i));
  } else {
    const places = coarse(thresholds);
    await look(fine(places, await look(places)));
    await look(beside(new Set(found.keys()), leastIn(found), thresholds.length));
  }
  const at = leastIn(found);
  return { threshold: thresholds[at]!, loss: found.get(at)! };
}

/** The place of the least loss; the first, and so the largest threshold, of equals. */
const leastIn = (found: ReadonlyMap<number, number>): number =>
  [...found].reduce((a, b) => (b[1] < a[1] || (b[1] === a[1] && b[0] < a[0]) ? b : a))[0];
