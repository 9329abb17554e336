import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { codeRange, fakeQuantize, groupIndex, parametersFor, parseGraph, roundHalfEven } from '../../ir/index.ts';
import { elements, f32, plainExecutor } from '../support/run.ts';
import { runOnce } from '../../passes/index.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

const bits = fc.integer({ min: 2, max: 8 });
const range = fc
  .tuple(fc.float({ noNaN: true, min: -100, max: 100 }), fc.float({ noNaN: true, min: -100, max: 100 }))
  .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);

describe('the standard grid (methods, section 2.4)', () => {
  test('symmetric: scale = max|x| / (2^(b-1) - 1), zero point 0, codes without the lowest', () =>
    fc.assert(
      fc.property(bits, range, (b, [lo, hi]) => {
        fc.pre(Math.max(Math.abs(lo), Math.abs(hi)) > 1e-3);
        const { scale, zero } = parametersFor(lo, hi, { bits: b, symmetric: true, grid: 'standard' });
        expect(scale).toBe(Math.fround(Math.max(Math.abs(lo), Math.abs(hi)) / (2 ** (b - 1) - 1)));
        expect(zero).toBe(0);
        expect(codeRange(b, true)).toEqual({ min: -(2 ** (b - 1)) + 1, max: 2 ** (b - 1) - 1 });
      }),
    ));
  test('asymmetric: zero is in the range, scale = (max - min) / (2^b - 1), zero point = -round(min / scale) from the lowest code', () =>
    fc.assert(
      fc.property(bits, range, (b, [lo, hi]) => {
        const [low, high] = [Math.min(lo, 0), Math.max(hi, 0)];
        fc.pre(high - low > 1e-3);
        const { scale, zero } = parametersFor(lo, hi, { bits: b, symmetric: false, grid: 'standard' });
        expect(scale).toBe(Math.fround((high - low) / (2 ** b - 1)));
        const unsigned = Math.min(Math.max(-roundHalfEven(low / scale), 0), 2 ** b - 1);
        expect(zero + 2 ** (b - 1)).toBe(unsigned);
      }),
    ));
  test('zero comes back as exactly zero, and nothing inside the range is off by more than half a step', () =>
    fc.assert(
      fc.property(bits, range, fc.boolean(), fc.double({ min: 0, max: 1, noNaN: true }), (b, [lo, hi], symmetric, at) => {
        const p = parametersFor(lo, hi, { bits: b, symmetric, grid: 'standard' });
        expect(Math.abs(fakeQuantize(0, p, b, symmetric))).toBe(0);
        const x = lo + (hi - lo) * at;
        // The zero point is rounded too, so that an end may be cut by up to half a step more.
        expect(Math.abs(fakeQuantize(x, p, b, symmetric) - x)).toBeLessThanOrEqual(p.scale * 1.0001 + 1e-6);
      }),
    ));
  test('a range of nothing still has a scale', () => {
    expect(parametersFor(0, 0, { bits: 8, symmetric: true, grid: 'standard' }).scale).toBeGreaterThan(0);
    expect(parametersFor(0, 0, { bits: 8, symmetric: false, grid: 'standard' }).zero).toBe(-128);
  });
  test('eight bits on [-1, 3]: the numbers by hand', () => {
    expect(parametersFor(-1, 3, { bits: 8, symmetric: false, grid: 'standard' })).toEqual({ scale: Math.fround(4 / 255), zero: -128 + 64 });
    expect(parametersFor(-1, 3, { bits: 8, symmetric: true, grid: 'standard' })).toEqual({ scale: Math.fround(3 / 127), zero: 0 });
    expect(parametersFor(2, 3, { bits: 4, symmetric: false, grid: 'standard' })).toEqual({ scale: Math.fround(0.2), zero: -8 });
  });
});

describe("RPTQ's grid (methods, section 1.5)", () => {
  test('s = (max - min) / 2^n within [1e-4, 1e4], z = -(max + min) / 2s, and neither zero nor the codes bound it', () =>
    fc.assert(
      fc.property(bits, range, (b, [lo, hi]) => {
        const { scale, zero } = parametersFor(lo, hi, { bits: b, symmetric: false, grid: 'rptq' });
        expect(scale).toBe(Math.fround(Math.min(Math.max((hi - lo) / 2 ** b, 1e-4), 1e4)));
        expect(zero).toBe(roundHalfEven(Math.min(Math.max(-(hi + lo) / (2 * scale), -1e4), 1e4)) + 0);
      }),
    ));
  test('four bits on [-1, 1] saturate by one step at the top: 1 comes back as 0.875', () => {
    const p = parametersFor(-1, 1, { bits: 4, symmetric: false, grid: 'rptq' });
    expect(p).toEqual({ scale: 0.125, zero: 0 });
    expect(fakeQuantize(1, p, 4, false)).toBe(0.875);
    expect(fakeQuantize(-1, p, 4, false)).toBe(-1);
  });
  test('a one-sided cluster has a zero point outside the codes', () => {
    const p = parametersFor(-97, -58, { bits: 4, symmetric: false, grid: 'rptq' });
    expect(p.zero).toBe(32);
    expect(Math.abs(fakeQuantize(-80, p, 4, false) + 80)).toBeLessThan(p.scale);
  });
});

describe('rounding', () => {
  test('is half to even', () =>
    expect([-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 0.49999999999999994].map(roundHalfEven).map((x) => x + 0)).toEqual([
      -4, -2, -2, 0, 0, 2, 2, 4, 0,
    ]));
  test("is ONNX Runtime's Round", async () => {
    const xs = [...Array.from({ length: 161 }, (_, i) => (i - 80) / 4), 8388607.5, -8388607.5, 4194303.25, 1e9, 0.49999997];
    const graph = parseGraph(`graph @round(%x: f32[${xs.length}]) { %y: f32[${xs.length}] = Round(%x) return %y }`);
    const { y } = await runOnce(executor, graph, { x: f32([xs.length], xs) });
    expect(Array.from(elements({ y: y! }, 'y'), (v) => v + 0)).toEqual(Array.from(Float32Array.from(xs), (v) => roundHalfEven(v) + 0));
  });
  test('fakeQuantize is what the body of qc.FakeQuantize computes in ONNX Runtime', async () => {
    const p = parametersFor(-1.25, 2, { bits: 4, symmetric: false, grid: 'standard' });
    const xs = Float32Array.from({ length: 200 }, (_, i) => (i - 100) / 37);
    const graph = parseGraph(`graph @fake(%x: f32[200,1]) {
      const %s: f32[1] = [${p.scale}]
      const %z: f32[1] = [${p.zero}]
      const %i: i64[1] = [0]
      %y: f32[200,1] = qc.FakeQuantize(%x, %s, %z, %i) {qmin = -8, qmax = 7}
      return %y
    }`);
    const got = elements(await runOnce(executor, graph, { x: f32([200, 1], xs) }), 'y');
    xs.forEach((x, i) => expect(got[i]).toBeCloseTo(fakeQuantize(x, p, 4, false), 5));
  });
});

test('a group index counts runs', () => expect(groupIndex([2, 1, 3])).toEqual([0, 0, 1, 2, 2, 2]));
