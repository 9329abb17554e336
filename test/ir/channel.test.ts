import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  apply,
  applyToRange,
  compose,
  factor,
  identity,
  inverse,
  isIdentity,
  linearPart,
  permutation,
  scaleAt,
  sideBySide,
  standardize,
  transformAttributes,
  transformOf,
  translation,
  type ChannelTransform,
} from '../../ir/index.ts';
import { capabilities, distance, transform } from '../support/arbitrary.ts';
import { errorOf, numbers } from '../support/run.ts';

const size = 6;
const one = transform(size);
const expectSame = (a: ChannelTransform, b: ChannelTransform): void => expect(distance(a, b)).toBeLessThan(1e-9);
const data = numbers(3 * size * 2, 5);
const expectClose = (a: Float32Array, b: Float32Array): void =>
  a.forEach((x, i) => expect(Math.abs(x - b[i]!)).toBeLessThanOrEqual(1e-4 * (1 + Math.abs(x))));

describe('channel transforms of one size are a group', () => {
  test('composition is associative', () =>
    fc.assert(fc.property(one, one, one, (a, b, c) => expectSame(compose(compose(a, b), c), compose(a, compose(b, c))))));
  test('the identity is neutral on both sides', () =>
    fc.assert(
      fc.property(one, (a) => {
        expectSame(compose(a, identity(size)), a);
        expectSame(compose(identity(size), a), a);
      }),
    ));
  test('the inverse undoes from both sides', () =>
    fc.assert(
      fc.property(one, (a) => {
        expectSame(compose(a, inverse(a)), identity(size));
        expectSame(compose(inverse(a), a), identity(size));
        expectSame(inverse(inverse(a)), a);
      }),
    ));
  test('the inverse of a composition is the composition of the inverses, turned round', () =>
    fc.assert(fc.property(one, one, (a, b) => expectSame(inverse(compose(a, b)), compose(inverse(b), inverse(a))))));
  test('what rounding leaves of the identity is the identity', () =>
    fc.assert(fc.property(one, (a) => isIdentity(compose(a, inverse(a))))));
});

describe('applying a transform', () => {
  test('agrees with composition, whatever the axis', () =>
    fc.assert(
      fc.property(one, one, (a, b) => {
        const shape = [3, size, 2];
        expectClose(apply(compose(a, b), data, shape, 1), apply(b, apply(a, data, shape, 1), shape, 1));
        expectClose(apply(inverse(a), apply(a, data, shape, 1), shape, 1), data);
      }),
    ));
  test('takes channel perm[i], scales it, then shifts it', () => {
    const t = compose(permutation([2, 0, 1]), standardize([1, 0, 0], [0.5, 1, -1]));
    expect([...apply(t, Float32Array.of(10, 20, 30), [3], 0)]).toEqual([(30 - 1) * 2, 10, -20]);
  });
  test('moves the ends of ranges, which change places under a negative scale', () => {
    const { min, max } = applyToRange(standardize([1, 0], [-0.5, 1]), Float32Array.of(-1, -2), Float32Array.of(3, 5));
    expect([[...min], [...max]]).toEqual([
      [-4, -2],
      [4, 5],
    ]);
  });
  test('refuses an axis of another length', () =>
    expect(errorOf(() => apply(identity(3), new Float32Array(4), [4], 0))?.message).toBe(
      'error QC1103: a transform of 3 channels meets an axis of 4',
    ));
});

describe('factoring by a capability', () => {
  test.each(capabilities)('%p: compose(moves, stays) is the whole, and moves has only the parts that are named', (can) => {
    fc.assert(
      fc.property(one, (t) => {
        const { moves, stays } = factor(t, can);
        expectSame(compose(moves, stays), t);
        if (!can.perm) expect(moves.perm).toBeNull();
        if (!can.scale) expect(moves.scale).toBeNull();
        if (!can.shift) expect(moves.shift).toBeNull();
        if (can.scale === 'positive') for (let i = 0; i < size; i++) expect(scaleAt(moves, i)).toBeGreaterThan(0);
      }),
    );
  });
  test('moves everything where everything may go, and nothing where nothing may', () =>
    fc.assert(
      fc.property(one, (t) => {
        expect(isIdentity(factor(t, { perm: true, scale: true, shift: true }).stays)).toBe(true);
        const none = factor(t, { perm: false, scale: false, shift: false });
        expect(isIdentity(none.moves)).toBe(true);
        expectSame(none.stays, t);
      }),
    ));
  test('leaves only signs behind where scales must be positive', () => {
    const { moves, stays } = factor(standardize([0, 0], [-0.5, 0.25]), { perm: false, scale: 'positive', shift: false });
    expect([[...moves.scale!], [...stays.scale!]]).toEqual([
      [2, 4],
      [-1, 1],
    ]);
  });
});

describe('building transforms', () => {
  test('an order must name every channel once', () => {
    expect(errorOf(() => permutation([0, 0, 1]))?.code).toBe('QC1101');
    expect(errorOf(() => permutation([1, 2, 3]))?.code).toBe('QC1101');
  });
  test('widths must be invertible and centres finite', () => {
    expect(errorOf(() => standardize([0], [0]))?.code).toBe('QC1102');
    expect(errorOf(() => standardize([0], [Infinity]))?.code).toBe('QC1102');
    expect(errorOf(() => standardize([NaN], [1]))?.code).toBe('QC1102');
  });
  test('sizes must agree', () => expect(errorOf(() => compose(identity(2), identity(3)))?.code).toBe('QC1103'));
  test('standardize centres and narrows', () =>
    expect([...apply(standardize([2, -1], [4, 1]), Float32Array.of(10, 5), [2], 0)]).toEqual([2, 6]));
  test('translation adds', () => expect([...apply(translation([1, -1]), Float32Array.of(10, 5), [2], 0)]).toEqual([11, 4]));
  test('the linear part has no shift', () => fc.assert(fc.property(one, (t) => expect(linearPart(t).shift).toBeNull())));
  test('transforms side by side act on their own blocks', () =>
    fc.assert(
      fc.property(transform(2), transform(3), (a, b) => {
        const x = numbers(5, 9);
        const joined = apply(sideBySide([a, b]), x, [5], 0);
        expectClose(joined, Float32Array.of(...apply(a, x.slice(0, 2), [2], 0), ...apply(b, x.slice(2), [3], 0)));
      }),
    ));
});

test('attributes hold a transform exactly', () =>
  fc.assert(fc.property(one, (t) => expect(transformOf(new Map(Object.entries(transformAttributes(t))))).toEqual(t))));
