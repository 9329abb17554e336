import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { admits, free, headed, permutation } from '../../ir/index.ts';
import { aligned, cluster, clusterWithin } from '../../passes/methods/rptq/cluster.ts';
import { rangeFeatures } from '../../passes/methods/rptq/features.ts';

const all = { perm: true, scale: true, shift: true } as const;
const point = fc
  .tuple(fc.float({ noNaN: true, min: 0, max: 100 }), fc.float({ noNaN: true, min: -100, max: 0 }))
  .map(([hi, lo]) => [hi, lo] as const);
const points = fc.array(point, { minLength: 1, maxLength: 24 });
const isOrder = (order: readonly number[], n: number): void =>
  expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i));

describe('clusters', () => {
  test('part the channels, none empty, at most as many as asked, narrow ones first', () =>
    fc.assert(
      fc.property(points, fc.integer({ min: 1, max: 6 }), (p, n) => {
        const { order, sizes } = cluster(p, n, 0);
        isOrder(order, p.length);
        expect(sizes.reduce((a, b) => a + b)).toBe(p.length);
        expect(Math.min(...sizes)).toBeGreaterThan(0);
        expect(sizes.length).toBeLessThanOrEqual(n);
        let at = 0;
        const widths = sizes.map((k) => Math.max(...order.slice(at, (at += k)).map((i) => p[i]![0] - p[i]![1])));
        expect(widths).toEqual([...widths].sort((a, b) => a - b));
      }),
      { numRuns: 40 },
    ));
  test('keep the order of channels inside a cluster, and are the same each time', () =>
    fc.assert(
      fc.property(points, fc.nat(3), (p, seed) => {
        const once = cluster(p, 4, seed);
        expect(cluster(p, 4, seed)).toEqual(once);
        let at = 0;
        for (const k of once.sizes) {
          const members = once.order.slice(at, (at += k));
          expect(members).toEqual([...members].sort((a, b) => a - b));
        }
      }),
      { numRuns: 30 },
    ));
  test('are those that the eye sees', () => {
    const ranges = { min: Float32Array.of(-1, -50, -1.1, 0, -52, -0.1), max: Float32Array.of(1, 50, 1.2, 20, 49, 19) };
    expect(cluster(rangeFeatures(ranges), 3, 0)).toEqual({ order: [0, 2, 3, 5, 1, 4], sizes: [2, 2, 2] });
  });
  test('are the best of all partitions in nearly every small case', () => {
    // Two groups on a line: brute force over all cuts of the sorted points.
    let optimal = 0;
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 3, maxLength: 9 }), (xs) => {
        fc.pre(new Set(xs).size > 1);
        const inertia = (groups: readonly (readonly number[])[]): number =>
          groups.reduce((sum, g) => sum + g.reduce((d, x) => d + (x - g.reduce((a, b) => a + b) / g.length) ** 2, 0), 0);
        const sorted = [...xs].sort((a, b) => a - b);
        const best = Math.min(...sorted.slice(1).map((_, k) => inertia([sorted.slice(0, k + 1), sorted.slice(k + 1)])));
        const { order, sizes } = cluster(
          xs.map((x) => [x, 0]),
          2,
          0,
        );
        const found = inertia([order.slice(0, sizes[0]), order.slice(sizes[0])].map((g) => g.map((i) => xs[i]!)));
        if (found <= best * 1.0001 + 1e-9) optimal++;
      }),
      { numRuns: 100, seed: 1 },
    );
    expect(optimal).toBeGreaterThanOrEqual(95);
  });
  test('are fewer where points coincide: as many as there are different ones', () => {
    expect(
      cluster(
        [
          [1, -1],
          [1, -1],
          [2, -2],
          [1, -1],
        ],
        4,
        0,
      ),
    ).toEqual({ order: [0, 1, 3, 2], sizes: [3, 1] });
    expect(
      cluster(
        [
          [1, -1],
          [1, -1],
        ],
        3,
        0,
      ),
    ).toEqual({ order: [0, 1], sizes: [2] });
  });
});

test('aligned boundaries are multiples, whatever is over goes to the wider neighbour', () => {
  const order = Array.from({ length: 20 }, (_, i) => i);
  // 3 of the first and 1 of the second join the cluster after them.
  expect(aligned({ order, sizes: [3, 6, 11] }, 4)).toEqual({ order, sizes: [8, 12], moved: 4 });
  expect(aligned({ order, sizes: [5, 15] }, 1)).toEqual({ order, sizes: [5, 15], moved: 0 });
  expect(aligned({ order, sizes: [20] }, 32)).toEqual({ order, sizes: [20], moved: 0 });
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 1, max: 16 }),
      (sizes, step) => {
        const total = sizes.reduce((a, b) => a + b);
        const moved = aligned({ order: Array.from({ length: total }, (_, i) => i), sizes }, step).sizes;
        expect(moved.reduce((a, b) => a + b)).toBe(total);
        let end = 0;
        for (const n of moved.slice(0, -1)) expect((end += n) % step).toBe(0);
        expect(Math.min(...moved)).toBeGreaterThan(0);
      },
    ),
  );
});

describe('within a freedom', () => {
  test('every cell is clustered alone, and the order is admitted', () =>
    fc.assert(
      fc.property(fc.array(point, { minLength: 12, maxLength: 12 }), fc.constantFrom(1, 3), (p, shared) => {
        const freedom = headed(3, 4, shared, all);
        const { order, sizes } = clusterWithin(p, freedom, 2, { align: 1, seed: 0 });
        isOrder(order, 12);
        expect(admits(freedom, permutation(order))).toBe(true);
        let at = 0;
        for (const n of sizes) {
          expect(Math.floor(order[at]! / 4)).toBe(Math.floor(order[at + n - 1]! / 4));
          at += n;
        }
        expect(sizes.length).toBeLessThanOrEqual(6);
      }),
      { numRuns: 40 },
    ));
  test('heads that move alike are clustered by the widest of them', () => {
    const p = [
      [1, -1],
      [9, -9],
      [1, -1],
      [1, -1],
    ].concat([
      [1, -1],
      [1, -1],
      [1, -1],
      [9, -9],
    ]);
    const { order, sizes } = clusterWithin(p, headed(2, 4, 2, all), 2, { align: 1, seed: 0 });
    expect([order, sizes]).toEqual([
      [0, 2, 1, 3, 4, 6, 5, 7],
      [2, 2, 2, 2],
    ]);
  });
  test('without cells there is one', () =>
    expect(
      clusterWithin(
        [
          [1, -1],
          [5, -5],
          [1, -1],
        ],
        free(3),
        2,
        { align: 1, seed: 0 },
      ),
    ).toEqual({ order: [0, 2, 1], sizes: [2, 1], moved: 0 }));
});
