import { afterAll, describe, expect, test } from '@jest/globals';
import { statSync } from 'node:fs';
import { model, node, value } from '../codegen/models.ts';
import { scratch } from '../data/arrays.ts';
import { fixture, leftOver, qc, removeTemporary } from './binary.ts';

const folder = scratch();
afterAll(() => {
  folder.remove();
  expect(leftOver()).toEqual([]);
  removeTemporary();
});

const [opt, bert] = [fixture('opt-tiny-op13'), fixture('bert-tiny-op17')];
const positive = (x: unknown): boolean => typeof x === 'number' && x > 0 && Number.isFinite(x);

describe('bench', () => {
  test('measures models at several lengths, and gives JSON', async () => {
    const { code, stdout, stderr } = await qc(['bench', opt, '--against', bert, '--seq', '1,12', '--runs', '3', '--profile', '--json']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const { models, ...settings } = JSON.parse(stdout);
    expect(settings).toEqual({ threads: 1, runs: 3 });
    expect(models.map((m: { model: string }) => m.model)).toEqual([opt, bert]);
    for (const [i, m] of models.entries()) {
      expect(Object.keys(m)).toEqual(['model', 'bytes', 'kernels', 'load', 'memory', 'lengths']);
      expect(m).toMatchObject({ bytes: statSync(m.model).size, kernels: null });
      expect(positive(m.load)).toBe(true);
      const { empty, loaded, peak } = m.memory;
      expect([0, empty, loaded, peak]).toEqual([0, empty, loaded, peak].sort((a, b) => a - b));
      for (const [l, { seq, inputs, times, tokensPerSecond, ratio, operators }] of m.lengths.entries()) {
        expect(seq).toBe([1, 12][l]);
        expect(inputs.input_ids).toEqual({ dtype: 'i64', shape: [1, seq] });
        expect(Object.keys(times)).toEqual(['median', 'lower', 'upper', 'least', 'most']);
        const { least, lower, median, upper, most } = times;
        expect([0, least, lower, median, upper, most]).toEqual([0, least, lower, median, upper, most].sort((a, b) => a - b));
        expect(tokensPerSecond).toBeCloseTo((1000 * seq) / median, 3);
        expect(i === 0 ? ratio === 1 : positive(ratio)).toBe(true);
        const shares = operators.map((o: { share: number }) => o.share);
        expect(shares.reduce((a: number, b: number) => a + b)).toBeCloseTo(1, 6);
        expect(operators.map((o: { operator: string }) => o.operator)).toContain('MatMul');
      }
    }
  });

  test('prints tables', async () => {
    const { code, stdout, stderr } = await qc(['bench', opt, '--seq', '8', '--runs', '2', '--no-kernels']);
    expect(code).toBe(0);
    expect(stderr).toMatch(/^\[1\/1\] bench /);
    expect(stdout).toMatch(/model .* size .* load ms .* memory .* peak .* runs on/);
    expect(stdout).toMatch(/│ 8 .*opt-tiny-op13\.onnx │ [\d.]+ +│ [\d.]+ to [\d.]+ +│ \d+ +│ 1\.000 +│/);
    expect(stdout).not.toContain('operator');
  });

  test('says what a model without tokens ran on', async () => {
    const ports = { input: [value('x', 'f32', [1, 3, 8]), value('scale', 'f32', [])], output: [value('y', 'f32', [1, 3, 8])] };
    const vision = folder.file('vision.onnx', model({ node: [node('Mul', ['x', 'scale'], ['y'])], ...ports }));
    const { stdout } = await qc(['bench', vision, '--against', opt, '--seq', '8', '--runs', '1']);
    expect(stdout).toMatch(/│ tokens\/s or inputs +│/);
    expect(stdout).toMatch(/vision\.onnx +│[^│]+│[^│]+│ x: f32\[1,3,8\], scale: f32\[\] +│ 1\.000 +│/);
    expect(stdout).toMatch(/opt-tiny-op13\.onnx +│[^│]+│[^│]+│ \d+ +│/);
  });

  test('more tokens than the model has positions for are refused', async () => {
    const { code, stdout } = await qc(['bench', opt, '--seq', '4000', '--json']);
    expect(code).toBe(2);
    expect(JSON.parse(stdout).error).toMatchObject({ code: 'QC2111', message: expect.stringContaining('the model has 64 positions') });
  });

  test.each([
    ['a length', ['--seq', '1,x'], 2, 'QC2007'],
    ['a number of runs', ['--runs', '0'], 2, 'QC2007'],
    ['a model to compare with that is not there', ['--against', 'nowhere.onnx'], 2, 'QC2109'],
    ['one that is no model', ['--against', folder.file('no.onnx', 'no model')], 3, 'QC4101'],
  ])('refuses %s', async (_, args, exit, message) => {
    const { code, stdout, stderr } = await qc(['bench', opt, ...args]);
    expect({ code, stdout }).toEqual({ code: exit, stdout: '' });
    expect(stderr).toContain(message);
  });
});
