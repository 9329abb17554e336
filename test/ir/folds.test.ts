import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  apply,
  dense,
  derived,
  encodeFloats,
  floats,
  inMemory,
  linearPart,
  movedColumns,
  movedRows,
  permAt,
  permutation,
  scaleAt,
  standardize,
  transposed,
  type ChannelTransform,
  type Tensor,
} from '../../ir/index.ts';
import { latest } from '../../ir/latest.ts';
import { errorOf } from '../support/run.ts';

/** The definitions, one fold at a time. */
const plainColumns = (t: ChannelTransform, w: Tensor): Tensor => derived(w, w.shape, () => apply(linearPart(t), floats(w), w.shape, 1));
const plainRows = (t: ChannelTransform, w: Tensor): Tensor =>
  derived(w, w.shape, () => {
    const columns = w.shape[1]!;
    const to = new Float32Array(floats(w).length);
    floats(w).forEach((x, i) => {
      const row = Math.floor(i / columns);
      to[permAt(t, row) * columns + (i % columns)] = x * scaleAt(t, row);
    });
    return to;
  });

const transform = (size: number): fc.Arbitrary<ChannelTransform> =>
  fc.oneof(
    fc.shuffledSubarray([...Array(size).keys()], { minLength: size }).map(permutation),
    fc
      .array(fc.oneof(fc.double({ min: 1e-3, max: 1e3, noNaN: true }), fc.double({ min: -9, max: -0.1, noNaN: true })), {
        minLength: size,
        maxLength: size,
      })
      .map((widths) => standardize(new Float32Array(size), widths)),
  );
const number = fc.oneof(fc.float({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 }), fc.constantFrom(0, -0, 1e-44, -1e-44));

describe('folds of folds', () => {
  test.each(['f32', 'f64', 'f16'] as const)('have the bits of one fold after another: %s', (dtype) =>
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 5 }),
        fc.infiniteStream(number),
        fc.gen(),
        (rows, columns, numbers, g) => {
          const data = Float32Array.from({ length: rows * columns }, () => numbers.next().value as number);
          const w = inMemory(dtype, [rows, columns], encodeFloats(dtype, data));
          let [moved, plain] = [w, w];
          for (let k = 0; k < 4; k++) {
            if (g(fc.boolean)) {
              const t = g(transform, rows);
              [moved, plain] = [movedRows(t, moved), plainRows(t, plain)];
            } else {
              const t = g(transform, columns);
              [moved, plain] = [movedColumns(t, moved), plainColumns(t, plain)];
            }
          }
          expect(Buffer.from(moved.bytes())).toEqual(Buffer.from(plain.bytes()));
        },
      ),
    ),
  );
  test('read what they were made of once', () => {
    let reads = 0;
    const w: Tensor = { ...dense([2, 2], [1, 2, 3, 4]), bytes: () => (reads++, dense([2, 2], [1, 2, 3, 4]).bytes()) };
    const swap = permutation([1, 0]);
    const moved = movedColumns(swap, movedRows(swap, movedRows(standardize([0, 0], [0.5, 1]), w)));
    expect([...floats(moved)]).toEqual([4, 3, 4, 2]);
    expect([...floats(moved)]).toEqual([4, 3, 4, 2]);
    expect(reads).toBe(1);
  });
  test('of another size are QC1103', () =>
    expect(errorOf(() => movedRows(permutation([1, 0, 2]), dense([2, 3], [1, 2, 3, 4, 5, 6])))?.message).toMatch(/3 channels.*\[2, 3\]/));
});

test.each([
  ['u8', 1],
  ['f16', 2],
  ['f32', 4],
  ['i64', 8],
] as const)('the transpose of %s is the same whatever the size', (dtype, size) => {
  const [rows, columns] = [45, 70];
  const bytes = Uint8Array.from({ length: rows * columns * size }, (_, i) => (i * 31 + (i >> 8)) % 256);
  const turned = transposed(inMemory(dtype, [rows, columns], bytes));
  expect(turned.shape).toEqual([columns, rows]);
  for (const [r, c] of [
    [0, 0],
    [44, 69],
    [31, 32],
    [7, 64],
  ] as const)
    expect([...turned.bytes().subarray((c * rows + r) * size, (c * rows + r + 1) * size)]).toEqual([
      ...bytes.subarray((r * columns + c) * size, (r * columns + c + 1) * size),
    ]);
  expect(Buffer.compare(transposed(turned).bytes(), bytes)).toBe(0);
});

test('a place keeps the latest result until another is asked or control goes back', async () => {
  const calls: string[] = [];
  const kept = latest();
  const [a, b] = ['a', 'b'].map((name) => kept(() => calls.push(name)));
  [a!(), a!(), b!(), b!(), a!()].forEach(() => {});
  expect(calls).toEqual(['a', 'b', 'a']);
  await Promise.resolve();
  a!();
  expect(calls).toEqual(['a', 'b', 'a', 'a']);
});
