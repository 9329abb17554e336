import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { roundHalfEven } from '../../ir/index.ts';
import { padded, room, rows } from '../../ir/simd/rows.ts';

const sizes = fc.integer({ min: 1, max: 40 });
const number = fc.oneof(
  fc.float({ noNaN: true, noDefaultInfinity: true }),
  fc.float({ noNaN: true, noDefaultInfinity: true, min: -4, max: 4 }),
  fc.constantFrom(0, -0, 0.5, 1.5, -2.5, 1e-44, -1e-44, 3e38, -3e38),
);
const row = (n: number, of: fc.Arbitrary<number> = number): fc.Arbitrary<Float32Array> =>
  fc.array(of, { minLength: n, maxLength: n }).map((v) => Float32Array.from(v));
const positive = fc.float({ noNaN: true, min: Math.fround(1e-4), max: 100 });
const whole = fc.integer({ min: -10000, max: 10000 });
const code = fc.integer({ min: -128, max: 127 });
const clip = (x: number, least: number, most: number): number => Math.min(Math.max(x, least), most);

/** Rows of one length, of the elements that are given for each. */
const rowsOf = (...of: readonly fc.Arbitrary<number>[]): fc.Arbitrary<readonly Float32Array[]> =>
  sizes.chain((n) => fc.tuple(...of.map((x) => row(n, x))));

describe('loops over rows give the bits of their definition', () => {
  test('codes', () =>
    fc.assert(
      fc.property(rowsOf(number, positive, whole), fc.constantFrom(3, 4, 8), ([x, scale, zero], bits) => {
        const n = x!.length;
        const [least, most] = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
        const of = room({ x: ['f32', n], scale: ['f32', n], zero: ['f32', n], code: ['i8', n] });
        of.x.set(x!);
        of.scale.set(scale!);
        of.zero.set(zero!);
        rows.codes(of.code.byteOffset, of.x.byteOffset, of.scale.byteOffset, of.zero.byteOffset, n, least, most);
        expect([...of.code]).toEqual([...x!].map((v, i) => clip(roundHalfEven(Math.fround(v / scale![i]!)) + zero![i]!, least, most) + 0));
      }),
    ));
  test('what codes stand for, and their product with a number', () =>
    fc.assert(
      fc.property(rowsOf(code, positive, whole), fc.double({ noNaN: true, min: -10, max: 10 }), ([codes, scale, zero], factor) => {
        const n = codes!.length;
        const of = room({ code: ['i8', n], scale: ['f32', n], zero: ['f32', n], x: ['f32', n], sum: ['f64', n] });
        of.code.set(codes!);
        of.scale.set(scale!);
        of.zero.set(zero!);
        const operands = [of.code.byteOffset, of.scale.byteOffset, of.zero.byteOffset, n] as const;
        rows.dequantize(of.x.byteOffset, ...operands);
        expect(of.x).toEqual(codes!.map((c, i) => (c - zero![i]!) * scale![i]!));
        const product = [...codes!].map((c, i) => factor * (c - zero![i]!) * scale![i]!);
        rows.addProduct(of.sum.byteOffset, factor, ...operands);
        expect([...of.sum]).toEqual(product.map((p) => 0 + p));
        rows.addProduct(of.sum.byteOffset, factor, ...operands);
        expect([...of.sum]).toEqual(product.map((p) => 0 + p + p));
      }),
    ));
  test('the squares of what is lost in codes', () =>
    fc.assert(
      fc.property(rowsOf(number, positive, whole), positive, ([x, scale, zero], factor) => {
        const n = x!.length;
        const of = room({ x: ['f32', n], scale: ['f32', n], zero: ['f32', n], error: ['f64', n] });
        of.x.set(x!);
        of.scale.set(scale!);
        of.zero.set(zero!);
        rows.addErrors(of.error.byteOffset, of.x.byteOffset, of.scale.byteOffset, of.zero.byteOffset, n, -8, 7, factor);
        const lost = [...x!].map((v, i) => v - (clip(roundHalfEven(v / scale![i]!) + zero![i]!, -8, 7) - zero![i]!) * scale![i]!);
        expect([...of.error]).toEqual(lost.map((e) => factor * (e * e)));
      }),
    ));
  test('sums of scaled rows', () =>
    fc.assert(
      fc.property(rowsOf(number, number, number, number), fc.array(number, { minLength: 3, maxLength: 3 }), ([to, ...from], factors) => {
        const n = to!.length;
        const of = room({ to: ['f32', n], from: ['f32', 3 * padded(n)], factor: ['f32', 3] });
        of.to.set(to!);
        from.forEach((x, j) => of.from.set(x, j * padded(n)));
        of.factor.set(factors);
        rows.addRows(of.to.byteOffset, of.from.byteOffset, padded(n), of.factor.byteOffset, 3, n);
        const f = Math.fround;
        const sums = [...to!].map((x, i) => factors.reduce((sum, factor, j) => f(sum + f(f(factor) * from[j]![i]!)), x));
        expect([...of.to]).toEqual(sums);
      }),
    ));
  test('extremes, and whether all elements are bounded', () =>
    fc.assert(
      fc.property(rowsOf(number, number), fc.nat(), fc.constantFrom(NaN, Infinity, -Infinity), ([a, b], at, wrong) => {
        const n = a!.length;
        const of = room({ x: ['f32', n], low: ['f32', n], high: ['f32', n] });
        of.low.set(a!);
        of.high.set(a!);
        of.x.set(b!);
        rows.widen(of.low.byteOffset, of.high.byteOffset, of.x.byteOffset, n);
        // Where both are zero, either will do.
        expect([...of.low].map((x) => x + 0)).toEqual([...a!].map((x, i) => Math.min(x, b![i]!) + 0));
        expect([...of.high].map((x) => x + 0)).toEqual([...a!].map((x, i) => Math.max(x, b![i]!) + 0));
        expect(Boolean(rows.hasUnbounded(of.x.byteOffset, n))).toBe(false);
        of.x[at % n] = wrong;
        expect(Boolean(rows.hasUnbounded(of.x.byteOffset, n))).toBe(true);
      }),
    ));
});

test('room is zero, and so is what lies between arrays', () => {
  room({ a: ['f64', 1000] }).a.fill(7);
  const { a, b, c } = room({ a: ['i8', 3], b: ['f32', 5], c: ['f64', 40_000] });
  expect([a.length, b.length, c.length]).toEqual([3, 5, 40_000]);
  expect(b.byteOffset - a.byteOffset).toBe(16);
  expect(new Uint8Array(a.buffer, a.byteOffset, c.byteOffset + c.byteLength - a.byteOffset).every((x) => x === 0)).toBe(true);
});
