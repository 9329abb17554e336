import fc from 'fast-check';
import {
  admits,
  compose,
  identity,
  permAt,
  permutation,
  scaleAt,
  shiftAt,
  standardize,
  type Capability,
  type ChannelTransform,
  type Freedom,
} from '../../ir/index.ts';

export const capabilities: readonly Capability[] = [true, false].flatMap((perm) =>
  ([true, false, 'positive'] as const).flatMap((scale) => [true, false].map((shift) => ({ perm, scale, shift }))),
);

const order = (size: number): fc.Arbitrary<readonly number[]> => {
  const all = Array.from({ length: size }, (_, i) => i);
  return fc.shuffledSubarray(all, { minLength: size, maxLength: size });
};
const numbersOf = (size: number, one: fc.Arbitrary<number>): fc.Arbitrary<number[]> => fc.array(one, { minLength: size, maxLength: size });
const width = fc.constantFrom(-4, -1.5, -1, 0.25, 0.7, 1, 1, 3);
const centre = fc.constantFrom(-2.5, 0, 0, 0.1, 1, 7);

/** Any transform of `size` channels; parts are missing now and then. */
export const transform = (size: number): fc.Arbitrary<ChannelTransform> =>
  fc.tuple(order(size), numbersOf(size, centre), numbersOf(size, width), fc.boolean(), fc.boolean()).map(([perm, z, s, moves, changes]) => {
    const affine = changes ? standardize(z, s) : identity(size);
    return moves ? compose(permutation(perm), affine) : affine;
  });

/** The largest difference between two transforms, relative to their parts; infinite when the orders differ. */
export function distance(a: ChannelTransform, b: ChannelTransform): number {
  let worst = a.size === b.size ? 0 : Infinity;
  for (let i = 0; i < a.size; i++) {
    if (permAt(a, i) !== permAt(b, i)) return Infinity;
    worst = Math.max(
      worst,
      Math.abs(scaleAt(a, i) - scaleAt(b, i)),
      Math.abs(shiftAt(a, i) - shiftAt(b, i)) / (1 + Math.abs(shiftAt(a, i))),
    );
  }
  return worst;
}

const partition = (size: number): fc.Arbitrary<Uint32Array> => numbersOf(size, fc.nat(2)).map((cells) => Uint32Array.from(cells));
/** The smallest member of each class leads it. */
const leadership = (size: number): fc.Arbitrary<Uint32Array> => partition(size).map((cells) => cells.map((c) => cells.indexOf(c)));

export const freedom = (size: number): fc.Arbitrary<Freedom> =>
  fc.record({
    size: fc.constant(size),
    can: fc.constantFrom(...capabilities),
    cells: fc.option(partition(size)),
    leaders: fc.option(leadership(size)),
    orderLeaders: fc.option(leadership(size)),
  });

/** A transform that is often admitted: built from what `f` allows, then maybe disturbed. */
export const transformNear = (f: Freedom): fc.Arbitrary<ChannelTransform> =>
  fc.tuple(transform(f.size), fc.constantFrom(-1, 0.5, 2), fc.constantFrom(0, 3), fc.boolean()).map(([wild, scale, shift, tame]) => {
    const even = standardize(new Array<number>(f.size).fill(shift), new Array<number>(f.size).fill(scale));
    const candidates = [
      wild,
      even,
      standardize(new Array<number>(f.size).fill(0), new Array<number>(f.size).fill(scale)),
      identity(f.size),
    ];
    return tame ? (candidates.find((t) => admits(f, t)) ?? identity(f.size)) : wild;
  });
