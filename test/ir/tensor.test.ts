import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { bfloatFromFloat, floatsFromBfloat, floatsFromHalf, halfFromFloat } from '../../ir/float16.ts';
import {
  bytesFor,
  derived,
  dense,
  doubles,
  dtypes,
  encodeFloats,
  floats,
  generated,
  inFile,
  inMemory,
  int64s,
  integers,
  lazy,
  scalar,
  transposed,
  type Tensor,
} from '../../ir/index.ts';
import { errorOf } from '../support/run.ts';

const codes = Uint16Array.from({ length: 0x10000 }, (_, i) => i);
/** IEEE 754 by its definition, from the bits. */
function byDefinition(code: number, exponentBits: number, fractionBits: number): number {
  const fraction = code & ((1 << fractionBits) - 1);
  const exponent = (code >> fractionBits) & ((1 << exponentBits) - 1);
  const bias = 2 ** (exponentBits - 1) - 1;
  const sign = code >> (exponentBits + fractionBits) ? -1 : 1;
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0
    ? sign * fraction * 2 ** (1 - bias - fractionBits)
    : sign * (2 ** fractionBits + fraction) * 2 ** (exponent - bias - fractionBits);
}
const formats = [
  { name: 'f16', decode: floatsFromHalf, encode: halfFromFloat, exponent: 5, fraction: 10 },
  { name: 'bf16', decode: floatsFromBfloat, encode: bfloatFromFloat, exponent: 8, fraction: 7 },
] as const;

describe.each(formats)('$name', ({ decode, encode, exponent, fraction }) => {
  const decoded = decode(codes);
  test('decodes all 65536 codes as the standard says', () => {
    const wrong = Array.from(codes).filter((c) => !Object.is(decoded[c], Math.fround(byDefinition(c, exponent, fraction))));
    expect(wrong).toEqual([]);
  });
  test('encodes what it decodes', () => {
    const wrong = Array.from(codes).filter((c) =>
      Number.isNaN(decoded[c]!) ? !Number.isNaN(byDefinition(encode(decoded[c]!), exponent, fraction)) : encode(decoded[c]!) !== c,
    );
    expect(wrong).toEqual([]);
  });
  test('rounds to the nearest code, ties to the even one', () => {
    const last = 2 ** (exponent + fraction) - 2 ** fraction - 1;
    for (let c = 0; c < last; c += 7) {
      const [low, high] = [decoded[c]!, decoded[c + 1]!];
      const middle = (low + high) / 2;
      expect(encode(middle)).toBe(c % 2 === 0 ? c : c + 1);
      expect(encode(-middle)).toBe((c % 2 === 0 ? c : c + 1) | 0x8000);
    }
    fc.assert(
      fc.property(fc.float({ noNaN: true, noDefaultInfinity: true, min: -60000, max: 60000 }), (x) => {
        const c = encode(x);
        const [here, ...beside] = [c, c - 1, c + 1].map((k) => Math.abs(byDefinition(k & 0xffff, exponent, fraction) - x));
        for (const d of beside) if (Number.isFinite(d)) expect(here!).toBeLessThanOrEqual(d!);
      }),
    );
  });
  test('keeps infinities, signs of zero and the overflow to infinity', () => {
    expect([Infinity, -Infinity, 3.4e38 * 10, -0].map((x) => decode(Uint16Array.of(encode(x)))[0])).toEqual([
      Infinity,
      -Infinity,
      Infinity,
      -0,
    ]);
  });
});
test('halves beyond 65519 are infinite, below they are not', () => expect([65519, 65520].map(halfFromFloat)).toEqual([0x7bff, 0x7c00]));

describe('tensor data', () => {
  test.each(dtypes.filter((d) => d !== 'string'))('%s must have the bytes that its shape needs', (dtype) => {
    const needed = bytesFor(dtype, 6);
    expect(inMemory(dtype, [2, 3], new Uint8Array(needed)).bytes()).toHaveLength(needed);
    expect(errorOf(() => inMemory(dtype, [2, 3], new Uint8Array(needed + 1)))?.message).toBe(
      `error QC1601: ${dtype}[2,3] needs ${needed} bytes, the data has ${needed + 1}`,
    );
  });
  test('that is short is found when it is read', () => {
    const short = (): Float32Array => new Float32Array(1);
    const at = { path: 'w.bin', offset: 0, length: 8 };
    for (const t of [lazy('f32', [2], short), generated([2], 'short', short), inFile('f32', [2], at, () => new Uint8Array(4))])
      expect(errorOf(() => t.bytes())?.code).toBe('QC1601');
  });
  test('of a lazy tensor is computed each time and only when asked', () => {
    let times = 0;
    const t = lazy('f32', [1], () => Float32Array.of(++times));
    expect([times, floats(t)[0], floats(t)[0]]).toEqual([0, 1, 2]);
  });
  test('of another element type is refused', () => {
    expect(errorOf(() => floats(int64s([1], [1])))?.message).toBe('error QC1602: expected float data, found i64');
    expect(errorOf(() => integers(scalar(1)))?.message).toBe('error QC1602: expected integer data, found f32');
    expect(errorOf(() => encodeFloats('i8', new Float32Array(1)))?.message).toBe('error QC1602: cannot store floats as i8');
  });
});

describe('reading elements', () => {
  test('of every float type gives f32', () => {
    const values = Float32Array.of(1.5, -2, 0);
    for (const dtype of ['f32', 'f64', 'f16', 'bf16'] as const)
      expect([...floats(inMemory(dtype, [3], encodeFloats(dtype, values)))]).toEqual([1.5, -2, 0]);
    expect([...doubles(inMemory('f64', [1], Float64Array.of(0.1)))]).toEqual([0.1]);
    expect([...doubles(dense([1], [0.5]))]).toEqual([0.5]);
  });
  test('of every integer type of whole bytes gives numbers', () => {
    const cases: readonly (readonly [Tensor, readonly number[]])[] = [
      [inMemory('i8', [2], Int8Array.of(-1, 2)), [-1, 2]],
      [inMemory('u8', [2], Uint8Array.of(255, 2)), [255, 2]],
      [inMemory('i16', [2], Int16Array.of(-300, 2)), [-300, 2]],
      [inMemory('u16', [2], Uint16Array.of(65535, 2)), [65535, 2]],
      [inMemory('i32', [1], Int32Array.of(-70000)), [-70000]],
      [inMemory('u32', [1], Uint32Array.of(4294967295)), [4294967295]],
      [inMemory('i64', [1], BigInt64Array.of(-5n)), [-5]],
      [inMemory('u64', [1], BigUint64Array.of(5n)), [5]],
      [inMemory('bool', [2], Uint8Array.of(1, 0)), [1, 0]],
    ];
    for (const [t, expected] of cases) expect(integers(t)).toEqual(expected);
  });
  test('does not care where in a buffer the bytes start', () => {
    const buffer = new Uint8Array(13);
    buffer.set(new Uint8Array(Float32Array.of(1, 2).buffer), 5);
    const t = inFile('f32', [2], { path: '', offset: 0, length: 8 }, () => buffer.subarray(5));
    expect([...floats(t)]).toEqual([1, 2]);
    const wide = new Uint8Array(9);
    wide.set(new Uint8Array(BigInt64Array.of(7n).buffer), 1);
    expect(integers(inFile('i64', [1], { path: '', offset: 0, length: 8 }, () => wide.subarray(1)))).toEqual([7]);
  });
});

describe('derived tensors', () => {
  test('keep the element type', () => {
    const half = inMemory('f16', [2], encodeFloats('f16', Float32Array.of(1, 2)));
    const doubled = derived(half, [2], () => floats(half).map((x) => x * 2));
    expect([doubled.dtype, ...floats(doubled)]).toEqual(['f16', 2, 4]);
  });
  test.each(['f32', 'f64', 'f16', 'bf16'] as const)('a transposed %s matrix has its axes exchanged', (dtype) => {
    const t = transposed(inMemory(dtype, [2, 3], encodeFloats(dtype, Float32Array.of(1, 2, 3, 4, 5, 6))));
    expect([t.shape, [...floats(t)]]).toEqual([
      [3, 2],
      [1, 4, 2, 5, 3, 6],
    ]);
  });
});
