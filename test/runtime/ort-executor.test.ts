import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { readModel, writeModel } from '../../codegen/onnx/index.ts';
import { Builder, dense, derived, exchange, floats, Graph, parseGraph, tensorType } from '../../ir/index.ts';
import type { DType } from '../../ir/types.ts';
import type { TypedData } from '../../ir/tensor.ts';
import type { Feeds, HostTensor } from '../../passes/infra/executor.ts';
import { OrtExecutor } from '../../src/runtime/ort-executor.ts';
import { echo, heavy, linear, mismatched, narrow, unknownOperator } from './graphs.ts';

const folder = mkdtempSync(join(tmpdir(), 'qc-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

const executor = new OrtExecutor({ threads: 1 });
afterAll(() => executor.close());

const f32 = (shape: readonly number[], ...data: readonly number[]): HostTensor => ({ dtype: 'f32', shape, data: Float32Array.from(data) });
const elements = (data: ArrayLike<number | bigint>): (number | bigint)[] => Array.from(data);
const large: Feeds = { x: { dtype: 'f32', shape: [512, 512], data: new Float32Array(512 * 512) } };
const refusal = (message: RegExp): object => ({ code: 'QC5001', message: expect.stringMatching(message) });
const closed = refusal(/the executor is closed/);
const one = { x: f32([1, 2], 1, 1) };

const saved = (graph: Graph): string => {
  const path = join(folder, `${graph.name}.onnx`);
  writeModel(graph, path, { externalData: 'always' });
  return path;
};

describe('a loaded graph', () => {
  test('runs with arrays by name', async () => {
    const program = await executor.load(linear());
    expect(await program.run(one)).toEqual({ y: f32([1, 2], 14, 26) });
    expect(await program.run({ x: f32([2, 2], 1, 0, 0, 1) })).toEqual({ y: f32([2, 2], 11, 22, 13, 24) });
  });

  test('says what it takes and gives', async () => {
    const program = await executor.openFile(saved(linear()));
    expect(program.inputs).toEqual([{ name: 'x', dtype: 'f32', shape: ['n', 2] }]);
    expect(program.outputs).toMatchObject([{ name: 'y', dtype: 'f32' }]);
  });

  test('has its weights in the file that they come from, and only computed ones in the temporary folder', async () => {
    const before = new Graph('kept');
    const x = before.addInput('x', tensorType('f32', [1, 64]));
    const w = before.addConstant(
      'w',
      dense(
        [64, 64],
        Float32Array.from({ length: 4096 }, (_, i) => i % 7),
      ),
    );
    before.addOutput(Builder.atEnd(before).value('MatMul', [x, w], {}, tensorType('f32', [1, 64]), 'y'));
    const graph = readModel(saved(before));
    const data = (): readonly string[] => readdirSync(tmpdir(), { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.data'));
    const written = async (): Promise<number> => {
      const files = new Set(data());
      const program = await executor.load(graph);
      const made = data().filter((f) => !files.has(f));
      expect((await program.run({ x: f32([1, 64], ...new Array<number>(64).fill(1)) }))['y']!.data[0]).toBeGreaterThan(0);
      await program.close();
      return made.length;
    };
    expect(await written()).toBe(0);
    const [weight] = [...graph.constants];
    exchange(
      graph,
      weight!,
      derived(weight!.constant!, [64, 64], () => floats(weight!.constant!).map((v) => 2 * v)),
    );
    expect(await written()).toBe(1);
  });

  test('may be changed after it is loaded', async () => {
    const graph = linear();
    const program = await executor.load(graph);
    graph.rename(graph.inputs[0]!, 'other');
    expect(await program.run(one)).toEqual({ y: f32([1, 2], 14, 26) });
  });

  test('shares the process with others', async () => {
    const [a, b] = await Promise.all([executor.load(linear()), executor.load(echo('f32'))]);
    const runs = await Promise.all([a.run(one), b.run({ x: f32([1], 5) }), a.run({ x: f32([1, 2], 0, 0) })]);
    expect(runs.map(({ y }) => elements(y!.data))).toEqual([
      [14, 26],
      [5, 5],
      [10, 20],
    ]);
    await a.close();
    expect(await b.run({ x: f32([1], 6) })).toEqual({ y: f32([2], 6, 6) });
  });

  test('leaves the main thread free while it runs', async () => {
    const program = await executor.load(heavy());
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    await program.run(large);
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(3);
  });
});

describe('arrays', () => {
  const kinds: readonly (readonly [DType, TypedData])[] = [
    ['f32', Float32Array.of(1.5, NaN)],
    ['f16', Uint16Array.of(0x3c00, 0xfc00)],
    ['f64', Float64Array.of(0.1, -0)],
    ['i8', Int8Array.of(-128, 127)],
    ['i16', Int16Array.of(-32768, 1)],
    ['i32', Int32Array.of(-(2 ** 31), 1)],
    ['i64', BigInt64Array.of(-(2n ** 63n), 1n)],
    ['u8', Uint8Array.of(255, 1)],
    ['u16', Uint16Array.of(65535, 1)],
    ['u32', Uint32Array.of(2 ** 32 - 1, 1)],
    ['u64', BigUint64Array.of(2n ** 64n - 1n, 1n)],
    ['bool', Uint8Array.of(0, 1)],
  ];
  test.each(kinds)('%s goes in and comes out', async (dtype, data) => {
    const program = await executor.load(echo(dtype));
    const { y } = await program.run({ x: { dtype, shape: [2], data } });
    expect(y).toMatchObject({ dtype, shape: [4] });
    expect(elements(y!.data)).toEqual([...elements(data), ...elements(data)]);
    expect(y!.data.constructor).toBe(data.constructor);
  });

  test('no elements', async () => {
    const program = await executor.load(echo('f32'));
    expect(await program.run({ x: f32([0]) })).toEqual({ y: f32([0]) });
  });

  test('a Buffer, which may be part of a pool', async () => {
    const program = await executor.load(echo('u8'));
    const data = Buffer.from('ab');
    const { y } = await program.run({ x: { dtype: 'u8', shape: [2], data } });
    expect([elements(y!.data), data.toString()]).toEqual([[97, 98, 97, 98], 'ab']);
  });

  test('that are large, in both directions, and leave no file', async () => {
    const program = await executor.load(echo('f32'));
    const data = Float32Array.from({ length: 100_000 }, (_, i) => i);
    const files = (): number => readdirSync(tmpdir(), { recursive: true }).length;
    const before = files();
    const { y } = await program.run({ x: { dtype: 'f32', shape: [data.length], data } });
    expect(y!.shape).toEqual([200_000]);
    expect(Buffer.from(y!.data.buffer).equals(Buffer.concat([data, data].map((d) => new Uint8Array(d.buffer))))).toBe(true);
    expect(files()).toBe(before);
  });

  test('the last bits of a sum do not depend on where in a message its array lies', async () => {
    const mean = parseGraph(`graph @mean(%pad: u8[N], %x: f32[1,101]) {
      const %axes: i64[1] = [-1]
      %y: f32[1,1] = ReduceMean(%x, %axes)
      %rest: u8[N] = Identity(%pad)
      return %y, %rest
    }`);
    const program = await executor.load(mean);
    const x = f32([1, 101], ...Array.from({ length: 101 }, (_, i) => Math.sin(i * i) * 10 ** (i % 4)));
    const found = new Set<number | bigint>();
    for (let n = 1; n <= 64; n++) {
      const { y } = await program.run({ pad: { dtype: 'u8', shape: [n], data: new Uint8Array(n) }, x });
      found.add(y!.data[0]!);
    }
    expect(found.size).toBe(1);
  });

  test('what was fed stays usable, views and shared memory too', async () => {
    const program = await executor.load(echo('f32'));
    const whole = Float32Array.of(1, 2, 3, 4);
    const shared = new Float32Array(new SharedArrayBuffer(8));
    shared.set([8, 9]);
    for (const data of [whole, whole.subarray(1, 3), shared]) {
      const expected = [...data, ...data];
      const { y } = await program.run({ x: { dtype: 'f32', shape: [data.length], data } });
      expect(elements(y!.data)).toEqual(expected);
      expect([...data, ...data]).toEqual(expected);
    }
  });
});

describe('QC5001', () => {
  const loadRefused: readonly (readonly [string, () => Graph, RegExp])[] = [
    ['an operator that ONNX Runtime lacks', unknownOperator, /^unknown(#\/what)?: .* could not load it: .*Frobnicate/],
    ['an int4 output', () => narrow('output', 'i4'), /^narrow#\/cast: error QC5001: output "y" of the graph is i4.*\n.*f32, f16.*\n.*Cast/],
    ['a bfloat16 output', () => narrow('output', 'bf16'), /output "y" of the graph is bf16/],
    ['a uint4 input', () => narrow('input', 'u4'), /input "x" of the graph is u4/],
  ];
  test.each(loadRefused)('%s', async (_, graph, message) => {
    await expect(executor.load(graph())).rejects.toMatchObject(refusal(message));
  });

  test.each<readonly [DType, RegExp]>([
    ['i4', /output "y" of the graph is int4/],
    ['bf16', /an input or output is bf16/],
  ])('a file with a %s output', async (dtype, message) => {
    await expect(executor.openFile(saved(narrow('output', dtype)))).rejects.toMatchObject(refusal(message));
  });

  test('a failing node is named by the place it came from', async () => {
    const program = await executor.load(mismatched());
    await expect(program.run({ x: f32([2], 1, 2) })).rejects.toMatchObject(
      refusal(/^source\.onnx#\/layers\.0\/view: error QC5001: ONNX Runtime could not run it: .*Reshape/),
    );
  });

  const badFeeds: readonly (readonly [string, Feeds, RegExp])[] = [
    ['missing', {}, /^linear: .*'x' is missing/],
    ['of another element type', { x: { dtype: 'i32', shape: [1, 2], data: Int32Array.of(1, 1) } }, /Unexpected input data type/],
    ['of another shape', { x: f32([1, 3], 1, 1, 1) }, /Got invalid dimensions/],
    ['shorter than the shape', { x: f32([1, 2], 1) }, /Tensor's size\(2\) does not match data length\(1\)/],
    ['in the wrong kind of array', { x: { dtype: 'f32', shape: [1, 2], data: Int32Array.of(1, 1) } }, /data must be type of/],
    ['of a type that cannot cross', { x: { dtype: 'i4', shape: [1, 2], data: Uint8Array.of(0x11) } }, /input "x" of the graph is i4/],
  ];
  test.each(badFeeds)('a feed that is %s', async (_, feeds, message) => {
    const program = await executor.load(linear());
    await expect(program.run(feeds)).rejects.toMatchObject(refusal(message));
    expect(await program.run(one)).toEqual({ y: f32([1, 2], 14, 26) });
  });

  test('files that are no models', async () => {
    const path = join(folder, 'text.onnx');
    writeFileSync(path, 'not a model');
    await expect(executor.openFile(path)).rejects.toMatchObject(refusal(/text\.onnx: error QC5001/));
    await expect(executor.openFile('nowhere.onnx')).rejects.toMatchObject(refusal(/^nowhere\.onnx: /));
  });

  test('a provider that is not there', async () => {
    const other = new OrtExecutor({ executionProviders: ['nonsense'] });
    await expect(other.load(linear())).rejects.toMatchObject({ code: 'QC5001' });
    await other.close();
  });
});

describe('the end', () => {
  let executor = new OrtExecutor();
  beforeEach(() => {
    executor = new OrtExecutor({ threads: 1 });
  });
  afterEach(() => executor.close());
  const folders = (): readonly string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('qc-') && !name.startsWith('qc-test-'));
  const models = (): readonly string[] =>
    readdirSync(tmpdir(), { recursive: true, encoding: 'utf8' }).filter((name) => /^qc-(?!test-).*model\.onnx$/.test(name));

  test('a program that is closed runs no more and leaves no folder', async () => {
    const before = models();
    const program = await executor.load(linear());
    expect(models().length).toBe(before.length + 1);
    await program.close();
    await program.close();
    expect(models()).toEqual(before);
    await expect(program.run(one)).rejects.toMatchObject(refusal(/the session is closed/));
  });

  test('a graph that is refused leaves no folder', async () => {
    const before = models();
    await expect(executor.load(unknownOperator())).rejects.toMatchObject({ code: 'QC5001' });
    expect(models()).toEqual(before);
  });

  test('closing the executor lets the run under way finish and refuses all others', async () => {
    const before = folders();
    const [program, slow] = [await executor.load(linear()), await executor.load(heavy())];
    const first = slow.run(large);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const second = slow.run(large).catch((error: unknown) => error);
    await executor.close();
    expect((await first)['y19']!.shape).toEqual([512, 512]);
    expect(await second).toMatchObject(closed);
    await expect(program.run(one)).rejects.toMatchObject(closed);
    await program.close();
    await executor.close();
    expect(folders()).toEqual(before);
  });

  test('an executor that was closed starts again', async () => {
    await (await executor.load(linear())).run(one);
    await executor.close();
    const program = await executor.load(linear());
    expect(await program.run(one)).toEqual({ y: f32([1, 2], 14, 26) });
  });

  const endings = ['', 'process.exit();', 'void program.run(one); setTimeout(() => process.exit(), 20);'];
  test.each(endings)('a process that closes nothing ends well: %s', (end) => {
    const home = mkdtempSync(join(folder, 'home-'));
    const script = `
      import { readdirSync } from 'node:fs';
      import { OrtExecutor } from './src/runtime/ort-executor.ts';
      import { heavy } from './test/runtime/graphs.ts';
      const one = { x: { dtype: 'f32', shape: [512, 512], data: new Float32Array(512 * 512) } };
      const program = await new OrtExecutor().load(heavy());
      const { y19 } = await program.run(one);
      console.log(y19.shape.join(), readdirSync(process.env.TMPDIR, { recursive: true }).filter((n) => n.endsWith('/model.onnx')).length);
      ${end}`;
    const args = ['--import', 'tsx', '--input-type=module', '--eval', script];
    const env = { ...process.env, TMPDIR: home };
    expect(execFileSync(process.execPath, args, { env, encoding: 'utf8', timeout: 30_000 })).toBe('512,512 1\n');
    expect(readdirSync(home).filter((name) => name.startsWith('qc-'))).toEqual([]);
  });
});

const model = '../shared/models/opt-mini/model.onnx';
(existsSync(model) ? test : test.skip)(`a model of torch runs (skipped without ${model})`, async () => {
  const program = await executor.openFile(model);
  expect(program.inputs.map(({ name, dtype, shape }) => [name, dtype, shape])).toEqual([
    ['input_ids', 'i64', ['batch', 'seq']],
    ['attention_mask', 'i64', ['batch', 'seq']],
  ]);
  const ones: HostTensor = { dtype: 'i64', shape: [1, 8], data: new BigInt64Array(8).fill(1n) };
  const { logits } = await program.run({ input_ids: ones, attention_mask: ones });
  expect(logits).toMatchObject({ dtype: 'f32', shape: [1, 8, 4096] });
});
