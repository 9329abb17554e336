import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Feeds } from '../../passes/infra/executor.ts';
import { OrtExecutor } from '../../src/runtime/ort-executor.ts';
import { leftOver, qc, removeTemporary } from '../cli/binary.ts';
import { f32, model, node, value } from '../codegen/models.ts';
import { npy, scratch, zip } from '../data/arrays.ts';
import { heavy, linear } from './graphs.ts';

const folder = scratch();
afterAll(() => {
  folder.remove();
  removeTemporary();
});

/** ONNX Runtime 1.30 fuses the first two nodes, and reads the bias whose name is empty as if it were there. */
const crashing = folder.file(
  'crashing.onnx',
  model({
    node: [node('Add', ['x', 'x'], ['sum']), node('LayerNormalization', ['sum', 'scale', ''], ['n']), node('MatMul', ['n', 'w'], ['y'])],
    input: [value('x', 'f32', [1, 4, 8])],
    initializer: [f32('scale', [8], new Array(8).fill(1)), f32('w', [8, 8], new Array(64).fill(1))],
    output: [value('y', 'f32', [1, 4, 8])],
  }),
);
const large: Feeds = { x: { dtype: 'f32', shape: [512, 512], data: new Float32Array(512 * 512) } };
const one: Feeds = { x: { dtype: 'f32', shape: [1, 2], data: Float32Array.of(1, 1) } };

const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
/** The processes that this one has started and that still run. */
const children = (): readonly number[] =>
  readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number).filter(isAlive);
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

describe('a crash of ONNX Runtime', () => {
  let executor = new OrtExecutor();
  beforeEach(() => {
    executor = new OrtExecutor({ threads: 1 });
  });
  afterEach(() => executor.close());

  test('while it loads is QC5005 with the file and the signal, and a later load starts again', async () => {
    const before = await executor.load(linear());
    await expect(executor.openFile(crashing)).rejects.toMatchObject({
      code: 'QC5005',
      message: expect.stringMatching(
        /crashing\.onnx: error QC5005: ONNX Runtime crashed when it should load it: .* ended by SIG(SEGV|ABRT|BUS)/,
      ),
    });
    await expect(before.run(one)).rejects.toMatchObject({
      code: 'QC5005',
      message: expect.stringMatching(/^linear: .* could not run it, because its process has crashed before/),
    });
    await before.close();
    const after = await executor.load(linear());
    expect((await after.run(one))['y']!.shape).toEqual([1, 2]);
  });

  test('while it runs rejects that call with the signal, and those that wait without it', async () => {
    const known = new Set(children());
    const [program, other] = [await executor.load(heavy()), await executor.load(linear())];
    const [pid = 0] = children().filter((child) => !known.has(child));
    const outcomes = Promise.allSettled([program.run(large), other.run(one)]);
    await pause(20);
    process.kill(pid, 'SIGKILL');
    const [first, second] = await outcomes;
    expect(first).toMatchObject({
      reason: { code: 'QC5005', message: expect.stringMatching(/^heavy: .* run it: its process was ended by SIGKILL\n {2}hint: .*memory/) },
    });
    expect(second).toMatchObject({ reason: { code: 'QC5005', message: expect.stringMatching(/^linear: .*crashed before/) } });
  });

  test('ends a command with exit 1', async () => {
    const data = folder.file('x.npz', zip({ 'x.npy': npy('<f4', [1, 4, 8], new Float32Array(32)) }));
    const { code, stdout } = await qc(['eval', crashing, '--against', crashing, '--data', data, '--json']);
    expect({ code, error: JSON.parse(stdout).error.code }).toEqual({ code: 1, error: 'QC5005' });
    expect(leftOver()).toEqual([]);
  });
});

describe('the process of ONNX Runtime', () => {
  test('does not end by the signals of a terminal', async () => {
    const known = new Set(children());
    const executor = new OrtExecutor({ threads: 1 });
    const program = await executor.load(heavy());
    const [pid = 0] = children().filter((child) => !known.has(child));
    const run = program.run(large);
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(pid, signal);
    expect((await run)['y19']!.shape).toEqual([512, 512]);
    expect((await program.run(large))['y19']!.shape).toEqual([512, 512]);
    await executor.close();
  });

  test('ends with the process that started it, also when that one is killed', async () => {
    const script = `
      import { readFileSync } from 'node:fs';
      import { OrtExecutor } from './src/runtime/ort-executor.ts';
      import { linear } from './test/runtime/graphs.ts';
      const program = await new OrtExecutor().load(linear());
      const children = readFileSync(\`/proc/\${process.pid}/task/\${process.pid}/children\`, 'utf8').trim().split(' ');
      console.log(children.at(-1));
      setInterval(() => {}, 1000);`;
    const parent = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const pid = await new Promise<number>((resolve) => createInterface(parent.stdout).once('line', (line) => resolve(Number(line))));
    expect(isAlive(pid)).toBe(true);
    parent.kill('SIGKILL');
    for (let i = 0; i < 200 && isAlive(pid); i++) await pause(50);
    expect(isAlive(pid)).toBe(false);
  });
});
