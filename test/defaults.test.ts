import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { fixture, qc, removeTemporary, root } from './cli/binary.ts';
import { defaultTarget } from '../src/default-target.ts';
import { compile, evaluate } from '../src/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'qc-defaults-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
  removeTemporary();
});

const model = fixture('opt-tiny-op13');
const rows = Array.from({ length: 6 }, (_, i) => Array.from({ length: 12 }, (_, j) => (i * 37 + j * 11) % 380));
const data = join(folder, 'data.jsonl');
writeFileSync(data, rows.map((input_ids) => JSON.stringify({ input_ids })).join('\n'));
const way = { model, output: join(folder, 'out.onnx'), passes: 'none' };
const kernels = existsSync(join(root, 'kernels/build/libqc_kernels.so'));
const tooFew = 'too few samples: 7 needed, 6 found';

describe('where nothing else is said', () => {
  test('a compile from code takes what one from the command line takes', async () => {
    await expect(compile({ ...way, data: { files: [data], samples: 7 } })).rejects.toThrow(tooFew);
    const { stderr } = await qc(['compile', model, '-p', 'none', '--calib', data, '--samples', '7', '-o', way.output, '--quiet']);
    expect(stderr).toContain(tooFew);
    const report = await compile({ ...way, data: { files: [data] } });
    const { stdout } = await qc(['compile', model, '-p', 'none', '--calib', data, '-o', way.output, '--json']);
    expect(report).toMatchObject({ scheme: 'w8a8', target: kernels ? 'qc-cpu' : 'ort-cpu' });
    expect(JSON.parse(stdout)).toMatchObject({ scheme: report.scheme, target: report.target, pipeline: report.pipeline });
  }, 120_000);

  test('the target is that of our kernels where they are, and else that of stock ONNX Runtime', () => {
    const at = (wish?: string, platform = 'linux x64') => defaultTarget({ wish, platform, root: folder });
    expect(at()).toEqual({ name: 'ort-cpu', why: 'the kernels of qc-cpu: not built' });
    const built = join(folder, 'kernels/build');
    mkdirSync(built, { recursive: true });
    for (const file of ['libqc_kernels.so', 'qc_loader.node']) writeFileSync(join(built, file), '');
    expect(at()).toEqual({ name: 'qc-cpu', why: 'its kernels are built' });
    expect(at(join(built, 'libqc_kernels.so'))).toEqual(at());
    expect(at('off')).toEqual({ name: 'ort-cpu', why: 'the kernels of qc-cpu: switched off by QC_KERNELS=off' });
    expect(at(undefined, 'darwin arm64')).toEqual({ name: 'ort-cpu', why: 'the kernels of qc-cpu: there are none for darwin arm64' });
    expect(() => at('/nowhere/lib.so')).toThrow('/nowhere/lib.so is not there');
  });

  test('a compile says on stderr which target it took and why, unless it is to be quiet', async () => {
    // Of a command that fails at its data, since the target is said before the work begins.
    const talk = async (env: Readonly<Record<string, string>>, ...more: string[]): Promise<string> =>
      (await qc(['compile', model, '-p', 'none', '--calib', data, '--samples', '7', '-o', way.output, ...more], { env })).stderr;
    const off = { QC_KERNELS: 'off' };
    expect(await talk(off)).toMatch(/^target: ort-cpu \(the kernels of qc-cpu: switched off by QC_KERNELS=off\)$/m);
    if (kernels) expect(await talk({})).toMatch(/^target: qc-cpu \(its kernels are built\)$/m);
    for (const more of [['--quiet'], ['--json'], ['--target', 'ort-cpu']]) expect(await talk(off, ...more)).not.toMatch(/^target:/m);
  });

  test('an evaluation takes all of the data', async () => {
    const { windows, perplexity } = await evaluate({ model, data: { files: [data] } });
    const { stdout } = await qc(['eval', model, '--data', data, '--json']);
    expect(windows).toBe(6);
    expect(JSON.parse(stdout)).toMatchObject({ windows, perplexity });
  });
});
