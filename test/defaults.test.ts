import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { fixture, qc, removeTemporary } from './cli/binary.ts';
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
const tooFew = 'too few samples: 32 needed, 6 found';

describe('where nothing else is said', () => {
  test('a compile from code takes what one from the command line takes', async () => {
    await expect(compile({ ...way, data: { files: [data] } })).rejects.toThrow(tooFew);
    const { stderr } = await qc(['compile', model, '-p', 'none', '--calib', data, '-o', way.output, '--quiet']);
    expect(stderr).toContain(tooFew);
    const report = await compile({ ...way, data: { files: [data], samples: 6 } });
    const { stdout } = await qc(['compile', model, '-p', 'none', '--calib', data, '--samples', '6', '-o', way.output, '--json']);
    expect(report).toMatchObject({ scheme: 'w8a8', target: 'ort-cpu' });
    expect(JSON.parse(stdout)).toMatchObject({ scheme: report.scheme, target: report.target, pipeline: report.pipeline });
  });

  test('an evaluation takes all of the data', async () => {
    const { windows, perplexity } = await evaluate({ model, data: { files: [data] } });
    const { stdout } = await qc(['eval', model, '--data', data, '--json']);
    expect(windows).toBe(6);
    expect(JSON.parse(stdout)).toMatchObject({ windows, perplexity });
  });
});
