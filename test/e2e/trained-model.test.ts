import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compile, type CompileOptions, type CompileReport } from '../../src/index.ts';
import { evaluate } from '../../src/eval/evaluate.ts';
import type { KernelChoice } from '../../src/runtime/kernel-use.ts';

const demo = 'examples/demo';
const model = join(demo, 'model.onnx');
const text = (file: string, samples: number) => ({ files: [join(demo, file)], tokenizer: join(demo, 'tokenizer.json'), seq: 128, samples });
const windows = 8;
// Two threads of ONNX Runtime wait for one another longer than they work on a model of this size.
const threads = 1;

let folder = '';
let float = NaN;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qc-e2e-'));
  float = await perplexityOf(model);
});
afterAll(() => rmSync(folder, { recursive: true }));

type Way = Pick<CompileOptions, 'passes' | 'scheme' | 'target'> & Partial<CompileOptions>;
const compiled = (name: string, way: Way): Promise<CompileReport> =>
  compile({ model, output: join(folder, name), data: text('calibration.txt', 16), threads, ...way });

const perplexityOf = async (path: string, kernels: KernelChoice = 'auto'): Promise<number> =>
  (await evaluate({ model: path, data: text('heldout.txt', windows), kernels, threads })).perplexity!;

async function measured(name: string, way: Way): Promise<{ readonly report: CompileReport; readonly perplexity: number }> {
  const report = await compiled(name, way);
  return { report, perplexity: await perplexityOf(join(folder, name)) };
}

describe('a trained OPT with planted outliers', () => {
  test('loses much without a method, little with os+, next to nothing with rptq, and no more with both', async () => {
    const at = { scheme: 'w8a6', target: 'portable' };
    const none = await measured('none.onnx', { ...at, passes: 'none' });
    const osPlus = await measured('os.onnx', { ...at, passes: 'os+{steps=10}' });
    const rptq = await measured('rptq.onnx', { ...at, passes: 'rptq' });
    const both = await measured('both.onnx', { ...at, passes: 'rptq,os+{steps=10}' });
    expect(none.perplexity).toBeGreaterThan(2 * float);
    expect(osPlus.perplexity).toBeLessThan(1.1 * float);
    expect(rptq.perplexity).toBeLessThan(1.04 * float);
    expect(both.perplexity).toBeLessThan(1.005 * rptq.perplexity);
    for (const { report } of [osPlus, rptq, both]) {
      expect(report.exactDifference).toBeLessThan(1e-4);
      expect(report.loweringDifference).toBeLessThan(1e-4);
      expect(report.ledger.every((e) => e.done.length + e.left.length > 0)).toBe(true);
    }
    expect(osPlus.report.left).toEqual({ gathers: 0, muls: 0, adds: 0 });
    expect(both.report.left).toEqual({ gathers: 8, muls: 0, adds: 0 });
  }, 240_000);

  test('in 4 bits for ort-cpu is small, and all its linears are fused', async () => {
    const { report, perplexity } = await measured('w4a8.onnx', { passes: 'os+{steps=10}', scheme: 'w4a8', target: 'ort-cpu' });
    expect(report.bytesAfter / report.bytesBefore).toBeLessThan(0.45);
    expect(perplexity).toBeLessThan(1.5 * float);
    const linears = report.ledger.filter((e) => e.kind === 'linear' && e.left.length === 0);
    expect(linears).toHaveLength(24);
    expect(linears.every((e) => e.done.includes('fused static int8, weight stored in 4 bits'))).toBe(true);
  }, 240_000);

  test('for kernels leaves nothing at run time, and means the same by kernels, by bodies and as QDQ', async () => {
    const way = { scheme: 'w4a8', passes: 'rptq,os+{steps=4}', target: 'qc-cpu' };
    const report = await compiled('kernels.onnx', way);
    expect(report.left).toEqual({ gathers: 0, muls: 0, adds: 0 });
    const of = (kind: string) => report.ledger.filter((e) => e.kind === kind && e.left.length === 0);
    expect(of('linear')).toHaveLength(24);
    expect(of('linear').every((e) => e.done.some((what) => what.startsWith('integers: 8-bit input in')))).toBe(true);
    expect(of('norm').filter((e) => e.done.some((what) => /one kernel with .*reorder, quantization/.test(what)))).toHaveLength(8);
    // The pipeline as it ran, options and all, for a target that has no kernels.
    await compiled('same.onnx', { ...way, passes: report.pipeline, target: 'portable', verify: false });
    const portable = await perplexityOf(join(folder, 'same.onnx'));
    for (const kernels of ['auto', 'off'] as const)
      expect(Math.abs((await perplexityOf(join(folder, 'kernels.onnx'), kernels)) / portable - 1)).toBeLessThan(1e-3);
  }, 240_000);

  test('gives the same bytes twice, and from saved ranges those that it gave from the data', async () => {
    // Biases are corrected on data, which saved ranges do not have.
    const way = { passes: 'rptq', scheme: 'w8a8', target: 'portable', verify: false, biasCorrect: false };
    const saved = join(folder, 'ranges.safetensors');
    await compiled('first.onnx', { ...way, saveCalibration: saved });
    await compiled('second.onnx', way);
    const first = readFileSync(join(folder, 'first.onnx'));
    expect(readFileSync(join(folder, 'second.onnx')).equals(first)).toBe(true);
    const report = await compile({ model, output: join(folder, 'third.onnx'), calibration: saved, threads, ...way });
    // Only the digest of what went in differs.
    expect(Math.abs(report.bytesAfter - first.length)).toBeLessThan(64);
    expect(await perplexityOf(join(folder, 'third.onnx'))).toBe(await perplexityOf(join(folder, 'first.onnx')));
  }, 120_000);

  test('is not written at all when the compile fails, and the reason has a code', async () => {
    const before = readdirSync(folder);
    const output = join(folder, 'never.onnx');
    const run = (way: Partial<CompileOptions>) =>
      compile({ model, output, passes: 'rptq', scheme: 'w8a8', target: 'portable', data: text('calibration.txt', 1), threads, ...way });
    await expect(run({ data: undefined })).rejects.toMatchObject({ code: 'QC2101' });
    await expect(run({ passes: 'rptqq' })).rejects.toMatchObject({ code: 'QC2004' });
    await expect(run({ scheme: 'w9a9' })).rejects.toMatchObject({ code: 'QC2006' });
    await expect(run({ scheme: 'rptq-w4a8', strict: true })).rejects.toMatchObject({ code: 'QC2201' });
    await expect(run({ target: 'toaster' })).rejects.toMatchObject({ code: 'QC2006' });
    await expect(run({ model: join(folder, 'absent.onnx') })).rejects.toMatchObject({ code: 'QC2109' });
    await expect(run({ calibration: join(demo, 'heldout.txt'), data: undefined })).rejects.toMatchObject({ code: 'QC2108' });
    await expect(run({ signal: AbortSignal.abort() })).rejects.toThrow();
    expect(existsSync(output)).toBe(false);
    expect(readdirSync(folder)).toEqual(before);
  }, 120_000);
});
