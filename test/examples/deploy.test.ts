import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { built, qc, removeTemporary, root } from '../cli/binary.ts';
import { scratch } from '../data/arrays.ts';

const folder = scratch();
const model = folder.file('model.onnx', '');
const demo = (name: string): string => join(root, 'examples/demo', name);
const library = join(root, 'kernels/build/libqc_kernels.so');
const prediction = (way: string): RegExp => new RegExp(`^${way}: next token (\\d+)`, 'm');
const tokenIn = (output: string, way: string): string => prediction(way).exec(output)?.[1] ?? `nothing in ${output}`;

beforeAll(async () => {
  const data = ['--calib', demo('calibration.txt'), '--tokenizer', demo('tokenizer.json'), '--seq', '64', '--samples', '4'];
  const way = ['-p', 'rptq,os+', '--scheme', 'w8a8', '--target', 'qc-cpu'];
  const { code, stderr } = await qc(['compile', demo('model.onnx'), ...way, ...data, '-o', model, '--quiet']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
}, 120_000);
afterAll(() => {
  folder.remove();
  removeTemporary();
});

const whereBuilt = existsSync(library) ? test : test.skip;
const unbuilt = existsSync(library) ? '' : ' (skipped: the kernels are not built, npm run build:kernels)';

describe('examples/deploy/node', () => {
  const predict = (wish: string): string => {
    const script = join(dirname(model), 'project/predict.mjs');
    const env = { ...process.env, QC_KERNELS: wish };
    return execFileSync(process.execPath, [script, model, demo('tokenizer.json'), 'The people of the United'], { env, encoding: 'utf8' });
  };

  // A project that has installed the packages, the script in it as it is.
  beforeAll(() => {
    const project = join(dirname(model), 'project');
    const installed = join(project, 'node_modules');
    mkdirSync(join(installed, '@onnx-qc/qc'), { recursive: true });
    copyFileSync(join(root, 'package.json'), join(installed, '@onnx-qc/qc/package.json'));
    symlinkSync(built(), join(installed, '@onnx-qc/qc/dist'));
    for (const name of ['onnxruntime-node', '@huggingface']) symlinkSync(join(root, 'node_modules', name), join(installed, name));
    copyFileSync(join(root, 'examples/deploy/node/predict.mjs'), join(project, 'predict.mjs'));
  });

  test('runs a compiled model on function bodies, and says so', () => {
    const output = predict('off');
    expect(output).toContain('kernels: switched off by QC_KERNELS=off\n');
    expect(output).toMatch(prediction('function bodies'));
    expect(output).not.toMatch(/^kernels \w+: next/m);
  });

  whereBuilt(`runs it on the kernels too, with the same prediction${unbuilt}`, () => {
    const output = predict(library);
    expect(tokenIn(output, 'kernels \\w+')).toBe(tokenIn(output, 'function bodies'));
  });
});

const python = process.env['PYTHON'] ?? 'python3';
const hasRuntime = spawnSync(python, ['-c', 'import numpy, onnxruntime']).status === 0;
const noRuntime = hasRuntime ? '' : ` (skipped: ${python} has no onnxruntime; PYTHON names another)`;

describe('examples/deploy/python', () => {
  const predict = (...more: readonly string[]): string => {
    const script = join(root, 'examples/deploy/python/predict.py');
    return execFileSync(python, [script, model, '46', '1201', '285', '262', ...more], { encoding: 'utf8' });
  };

  (hasRuntime ? test : test.skip)(`runs a compiled model on function bodies${noRuntime}`, () => {
    expect(predict()).toMatch(/^function bodies: next token \d+, [\d.]+ ms\n$/);
  });

  (hasRuntime ? whereBuilt : test.skip)(`runs it on the kernels too, with the same prediction${noRuntime || unbuilt}`, () => {
    const output = predict('--kernels', library);
    expect(tokenIn(output, 'kernels \\w+')).toBe(tokenIn(output, 'function bodies'));
  });
});
