import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  admits,
  compose,
  free,
  headed,
  identity,
  meet,
  only,
  permutation,
  pinned,
  standardize,
  type ChannelTransform,
  type Freedom,
} from '../../ir/index.ts';
import { capabilities, freedom, transformNear } from '../support/arbitrary.ts';

const all = { perm: true, scale: true, shift: true } as const;
const heads = headed(2, 3, 1, all);
const tied = headed(2, 3, 2, all);
const pairs: Freedom = { ...free(6), cells: Uint32Array.from([0, 0, 1, 1, 2, 2]) };
const mirrored: Freedom = { ...free(6), leaders: Uint32Array.from([0, 1, 2, 2, 1, 0]) };
const grid: readonly Freedom[] = [free(6), pinned(6), heads, tied, pairs, mirrored, ...capabilities.map((can) => only(6, can))];

const scaled = (...widths: readonly number[]): ChannelTransform =>
  standardize(
    widths.map(() => 0),
    widths,
  );
const shifted = (...centres: readonly number[]): ChannelTransform =>
  standardize(
    centres,
    centres.map(() => 1),
  );
const inHeads = permutation([1, 0, 2, 4, 3, 5]);
const probes: readonly ChannelTransform[] = [
  identity(6),
  permutation([1, 0, 2, 3, 4, 5]),
  inHeads,
  permutation([3, 4, 5, 0, 1, 2]),
  permutation([1, 0, 3, 2, 5, 4]),
  scaled(2, 1, 1, 1, 1, 1),
  scaled(2, 3, 4, 2, 3, 4),
  scaled(-1, 1, 1, -1, 1, 1),
  scaled(2, 3, 4, 4, 3, 2),
  shifted(1, 0, 0, 0, 0, 0),
  shifted(1, 2, 3, 1, 2, 3),
  compose(inHeads, scaled(2, 3, 4, 2, 3, 4)),
];
const verdicts = (f: Freedom): readonly boolean[] => probes.map((t) => admits(f, t));

describe('meet is the intersection', () => {
  test('on a grid of cells, leaders and capabilities', () => {
    for (const a of grid) for (const b of grid) expect(verdicts(meet(a, b))).toEqual(probes.map((t) => admits(a, t) && admits(b, t)));
  });
  test('so that it commutes, associates and is idempotent', () => {
    for (const a of grid) {
      expect(verdicts(meet(a, a))).toEqual(verdicts(a));
      for (const b of grid) {
        expect(verdicts(meet(a, b))).toEqual(verdicts(meet(b, a)));
        for (const c of grid) expect(verdicts(meet(meet(a, b), c))).toEqual(verdicts(meet(a, meet(b, c))));
      }
    }
  });
  test('for any partitions and any transform', () => {
    const seen = { yes: 0, no: 0 };
    const trial = fc.tuple(freedom(5), freedom(5)).chain(([a, b]) => fc.tuple(fc.constant(a), fc.constant(b), transformNear(meet(a, b))));
    fc.assert(
      fc.property(trial, ([a, b, t]) => {
        const both = admits(a, t) && admits(b, t);
        seen[both ? 'yes' : 'no']++;
        expect(admits(meet(a, b), t)).toBe(both);
      }),
      { numRuns: 2000 },
    );
    expect(Math.min(seen.yes, seen.no)).toBeGreaterThan(200);
  });
  test('free is its top and pinned its bottom', () => {
    for (const a of grid) {
      expect(verdicts(meet(a, free(6)))).toEqual(verdicts(a));
      expect(verdicts(meet(a, pinned(6)))).toEqual(verdicts(pinned(6)));
    }
  });
});

describe('what is admitted', () => {
  test('pinned admits the identity alone', () => expect(probes.filter((t) => admits(pinned(6), t))).toEqual([identity(6)]));
  test('heads keep their channels at home', () => {
    expect(admits(heads, inHeads)).toBe(true);
    expect(admits(heads, permutation([3, 4, 5, 0, 1, 2]))).toBe(false);
  });
  test('heads that share a value head move alike', () => {
    expect(admits(tied, inHeads)).toBe(true);
    expect(admits(tied, permutation([1, 0, 2, 3, 4, 5]))).toBe(false);
    expect(admits(tied, scaled(2, 3, 4, 2, 3, 4))).toBe(true);
    expect(admits(tied, scaled(2, 3, 4, 2, 3, 5))).toBe(false);
    expect(admits(tied, shifted(1, 2, 3, 1, 2, 4))).toBe(false);
  });
  test('a positive scale is no sign change', () => {
    const relu = only(6, { perm: true, scale: 'positive', shift: false });
    expect([admits(relu, scaled(2, 1, 1, 1, 1, 1)), admits(relu, scaled(-1, 1, 1, 1, 1, 1))]).toEqual([true, false]);
  });
});
