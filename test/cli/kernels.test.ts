import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { scratch } from '../data/arrays.ts';
import { fixture, leftOver, qc, removeTemporary, root, type Outcome } from './binary.ts';

const folder = scratch();
const lines = folder.file(
  'ids.jsonl',
  [0, 1, 2].map((s) => `{"input_ids": [${Array.from({ length: 12 }, (_, i) => 2 + ((s * 31 + i * 7) % 90))}]}`).join('\n'),
);
const float = fixture('opt-tiny-op13');
const compiled = join(dirname(lines), 'compiled.onnx');
const library = join(root, 'kernels/build/libqc_kernels.so');
const whereBuilt = existsSync(library) ? test : test.skip;
const unbuilt = existsSync(library) ? '' : ' (skipped: the kernels are not built, npm run build:kernels)';

beforeAll(async () => {
  const how = ['-p', 'rptq,os+', '--scheme', 'w8a8', '--target', 'qc-cpu', '--seq', '12', '--samples', '2', '--threads', '1'];
  const { code, stderr } = await qc(['compile', float, ...how, '--calib', lines, '-o', compiled, '--json']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
}, 120_000);
afterAll(() => {
  folder.remove();
  expect(leftOver()).toEqual([]);
  removeTemporary();
});

const data = ['--data', lines, '--seq', '12', '--windows', '1', '--threads', '1'];
const json = async (args: readonly string[], wish = '') =>
  JSON.parse((await qc([...args, '--json'], { env: { QC_KERNELS: wish } })).stdout);

describe('which way a model ran', () => {
  const bodies = { operators: expect.any(Number), level: null };

  test('eval says function bodies where there are no kernels, or none are wanted', async () => {
    const alone = await json(['eval', compiled, ...data], 'off');
    expect(alone.kernels).toEqual(bodies);
    expect(alone.kernels.operators).toBeGreaterThan(0);
    expect(await json(['eval', compiled, ...data, '--no-kernels'])).toEqual(alone);
    const printed = await qc(['eval', compiled, ...data, '--no-kernels', '--against', compiled, '--quiet']);
    expect(printed.stdout).toMatch(/^runs on +function bodies$[^]*^float runs on +function bodies$/m);
  });

  test('nothing is said of a model without operators of the library', async () => {
    const found = await json(['eval', compiled, ...data, '--against', float]);
    expect(found.against.kernels).toBeNull();
    expect((await qc(['eval', float, ...data])).stdout).not.toContain('runs on');
    expect((await json(['bench', float, '--seq', '4', '--runs', '1'])).models[0].kernels).toBeNull();
  });

  test('bench says function bodies', async () => {
    const { stdout } = await qc(['bench', compiled, '--seq', '4', '--runs', '1', '--no-kernels']);
    expect(stdout).toContain('│ function bodies │');
  });

  whereBuilt(`eval and bench say kernels and their level, and the figures are close${unbuilt}`, async () => {
    const [kernels, byBodies] = [await json(['eval', compiled, ...data]), await json(['eval', compiled, ...data, '--no-kernels'])];
    expect(kernels.kernels).toEqual({ operators: byBodies.kernels.operators, level: expect.stringMatching(/^(scalar|avx)/) });
    expect(kernels.perplexity / byBodies.perplexity).toBeCloseTo(1, 2);
    const { level } = kernels.kernels;
    expect((await qc(['eval', compiled, ...data])).stdout).toMatch(new RegExp(`^runs on +kernels ${level}$`, 'm'));
    const benched = await json(['bench', compiled, '--seq', '4', '--runs', '1', '--profile']);
    expect(benched.models[0].kernels.level).toBe(level);
    expect(benched.models[0].lengths[0].operators.map((o: { operator: string }) => o.operator)).toContain('ClusterMatMul');
  });

  test('a library that is asked for and not there fails what needs it, and nothing else', async () => {
    expect((await json(['eval', compiled, ...data], '/nowhere.so')).error).toMatchObject({
      code: 'QC5004',
      hint: expect.stringContaining('qc kernels build'),
    });
    expect((await json(['eval', float, ...data], '/nowhere.so')).perplexity).toBeGreaterThan(1);
    expect((await json(['eval', compiled, ...data, '--no-kernels'], '/nowhere.so')).kernels).toEqual(bodies);
  });
});

describe('doctor', () => {
  const check = async (wish: string) => (await json(['doctor'], wish)).checks.find((c: { name: string }) => c.name === 'kernels');

  test('says when there are no kernels, and when they are broken', async () => {
    expect(await check('off')).toEqual({ name: 'kernels', status: 'ok', found: 'none: switched off by QC_KERNELS=off', advice: null });
    expect(await check('/nowhere.so')).toMatchObject({ status: 'fail', found: expect.stringContaining('/nowhere.so is not there') });
  });

  test('finds the kernels of the package, or says how to build them', async () => {
    const found = existsSync(library)
      ? { status: 'ok', found: expect.stringMatching(/libqc_kernels\.so, on (scalar|avx)/) }
      : { status: 'warn', found: 'not built', advice: expect.stringContaining('qc kernels build') };
    expect(await check('')).toMatchObject(found);
  });
});

describe('qc kernels path', () => {
  const path = (wish: string, ...args: readonly string[]): Promise<Outcome> =>
    qc(['kernels', 'path', ...args], { env: { QC_KERNELS: wish } });

  test('is that of the library that sessions use', async () => {
    const fake = folder.file('libqc_kernels.so', '');
    folder.file('qc_loader.node', '');
    expect(await path(fake)).toEqual({ code: 0, stdout: `${fake}\n`, stderr: '' });
    expect(JSON.parse((await path(fake, '--json')).stdout)).toEqual({ device: 'cpu', library: fake });
  });

  test('fails where there is none, and says why', async () => {
    const off = { code: 1, stdout: '', stderr: expect.stringContaining('QC5008: there is no library of kernels for cpu: switched off') };
    expect(await path('off')).toMatchObject(off);
    expect(await path('/nowhere.so')).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('QC5004') });
    expect(await path('off', 'gpu')).toMatchObject({ code: 2, stderr: expect.stringContaining('Allowed choices are cpu, cuda') });
  });
});
