import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { int64 } from '../../codegen/onnx/proto.ts';
import { attributeTypes as kinds } from '../../codegen/onnx/schema.ts';
import type { FunctionProto, NodeProto } from '../../codegen/onnx/proto-types.ts';
import { findKernelFiles } from '../../src/runtime/kernel-files.ts';
import { countKernelOperators } from '../../src/runtime/kernel-use.ts';
import { readModel } from '../../codegen/index.ts';
import { OrtExecutor, type OrtOptions } from '../../src/runtime/ort-executor.ts';
import { built } from '../cli/binary.ts';
import { f32, graphAttribute, intAttribute, model, node, raw, value } from '../codegen/models.ts';
import { scratch } from '../data/arrays.ts';
import { errorOf } from '../support/run.ts';

const folder = scratch();
afterAll(() => folder.remove());

const library = join(process.cwd(), 'kernels/build/libqc_kernels.so');
const whereBuilt = existsSync(library) ? describe : describe.skip;
const unbuilt = existsSync(library) ? '' : ' (skipped: the kernels are not built, npm run build:kernels)';

/** A local function of our domain. */
const local = (name: string, input: readonly string[], nodes: readonly NodeProto[]): FunctionProto => ({
  name,
  domain: 'qc',
  input,
  output: ['y'],
  node: nodes,
  opsetImport: [{ domain: '', version: int64(21) }],
});

/**
 * Codes of zeros, dequantized and doubled. The body of DequantizeClusters lies, it gives -1, so that the result says what ran; the
 * kernel gives 0. Twice is an operator that the library does not have.
 */
const dequantize = node('DequantizeClusters', ['codes', 'scale', 'zero'], ['d'], {
  domain: 'qc',
  attribute: [{ name: 'groups', type: kinds.ints, ints: [int64(32)] }, intAttribute('bits', 8)],
});
const liar = folder.file(
  'liar.onnx',
  model(
    {
      node: [dequantize, node('Twice', ['d'], ['y'], { domain: 'qc' })],
      input: [value('codes', 'u8', ['n', 32])],
      initializer: [f32('scale', [1], [1]), f32('zero', [1], [0])],
      output: [value('y', 'f32', ['n', 32])],
    },
    {
      opsetImport: ['', 'qc'].map((domain) => ({ domain, version: int64(domain === '' ? 21 : 1) })),
      functions: [
        local(
          'DequantizeClusters',
          ['codes', 'scale', 'zero'],
          [
            node('Cast', ['codes'], ['f'], { attribute: [intAttribute('to', 1)] }),
            node('Sub', ['f', 'f'], ['none']),
            node('Cos', ['none'], ['one']),
            node('Neg', ['one'], ['y']),
          ],
        ),
        local('Twice', ['x'], [node('Add', ['x', 'x'], ['y'])]),
      ],
    },
  ),
);
const zeros = { codes: { dtype: 'u8', shape: [1, 32], data: new Uint8Array(32).fill(128) } } as const;
const [byBody, byKernel] = [-2, 0];

describe('the files of the library', () => {
  const place = (name: string, ...files: readonly string[]): string => {
    for (const file of files) folder.file(`${name}-${file}`, '');
    const root = join(dirname(liar), name);
    for (const file of files) {
      const build = join(root, file.includes('cuda') ? 'kernels/build-cuda' : 'kernels/build');
      mkdirSync(build, { recursive: true });
      symlinkSync(join(dirname(liar), `${name}-${file}`), join(build, file));
    }
    return root;
  };
  const [both, none, half] = [place('both', 'libqc_kernels.so', 'qc_loader.node'), place('none'), place('half', 'libqc_kernels.so')];
  const all = place('all', 'libqc_kernels.so', 'qc_loader.node', 'libqc_kernels_cuda.so');
  const foundIn = (root: string) => ({
    library: join(root, 'kernels/build/libqc_kernels.so'),
    loader: join(root, 'kernels/build/qc_loader.node'),
    cuda: null,
  });
  const found = foundIn(both);
  const find = (root: string, wish?: string, platform = 'linux x64') => findKernelFiles({ wish, platform, root });

  test('lie in the package, or where QC_KERNELS says', () => {
    expect(find(both)).toEqual(found);
    expect(find(both, '')).toEqual(found);
    expect(find(none, found.library)).toEqual(found);
  });
  test('are others for CUDA, unless one is asked for', () => {
    expect(find(all)).toEqual({ ...foundIn(all), cuda: join(all, 'kernels/build-cuda/libqc_kernels_cuda.so') });
    expect(find(all, found.library)).toEqual(found);
  });
  test('may be missing, for a reason', () => {
    expect(find(none)).toBe('not built');
    expect(find(both, 'off')).toBe('switched off by QC_KERNELS=off');
    expect(find(both, undefined, 'darwin arm64')).toBe('there are none for darwin arm64');
  });
  test('are an error when asked for and not there, or without the loader', () => {
    expect(errorOf(() => find(both, '/nowhere/lib.so'))).toEqual({
      code: 'QC5004',
      message: expect.stringContaining('/nowhere/lib.so is not there (QC_KERNELS=/nowhere/lib.so)'),
    });
    expect(errorOf(() => find(half))).toEqual({ code: 'QC5004', message: expect.stringContaining('qc_loader.node is not there') });
  });
});

test('operators of the library are counted, in inner graphs too, and no others', () => {
  expect(countKernelOperators(readModel(liar))).toBe(1);
  const branch = { node: [{ ...dequantize, output: ['inner'] }], output: [value('inner', 'f32', ['n', 32])], name: 'branch' };
  const attribute = ['then_branch', 'else_branch'].map((name) => graphAttribute(name, branch));
  const nested = model({
    node: [node('If', ['c'], ['y'], { attribute }), node('DequantizeClusters', ['y'], ['z'])],
    input: [value('codes', 'u8', ['n', 32])],
    initializer: [raw('c', 'bool', [], Uint8Array.of(1)), f32('scale', [1], [1]), f32('zero', [1], [0])],
    output: [value('z', 'f32', ['n', 32])],
  });
  expect(countKernelOperators(readModel(folder.file('nested.onnx', nested)))).toBe(2);
});

describe('an executor', () => {
  let executor = new OrtExecutor();
  const executorOf = (options: OrtOptions): OrtExecutor => (executor = new OrtExecutor({ threads: 1, ...options }));
  beforeEach(() => executor.close());
  afterEach(() => executor.close());

  test('told to do without the library runs function bodies, and says so', async () => {
    const program = await executorOf({ kernels: 'off' }).openFile(liar);
    expect(program.kernels).toEqual({ operators: 1, level: null });
    expect((await program.run(zeros))['y']!.data[0]).toBe(byBody);
  });

  test('says nothing of a model without such operators', async () => {
    expect((await executorOf({}).openFile('test/fixtures/exported/bert-tiny-op17.onnx')).kernels).toBeNull();
  });

  test('gives the time of a run', async () => {
    const program = await executorOf({ kernels: 'off' }).openFile(liar);
    expect(await program.time(zeros)).toBeGreaterThan(0);
    await expect(program.time({})).rejects.toMatchObject({ code: 'QC5001' });
  });

  whereBuilt(`with the library${unbuilt}`, () => {
    test('runs its operators, and bodies for all others', async () => {
      const program = await executorOf({}).openFile(liar);
      expect(program.kernels).toEqual({ operators: 1, level: expect.stringMatching(/^(scalar|avx)/) });
      expect((await program.run(zeros))['y']!.data[0]).toBe(byKernel);
    });

    test('registers it with the sessions that want it alone', async () => {
      const [a, b] = [new OrtExecutor({ kernels: 'off' }), new OrtExecutor()];
      try {
        for (let i = 0; i < 3; i++) {
          expect((await (await a.openFile(liar)).run(zeros))['y']!.data[0]).toBe(byBody);
          expect((await (await b.openFile(liar)).run(zeros))['y']!.data[0]).toBe(byKernel);
        }
      } finally {
        await a.close();
        await b.close();
      }
    });
  });
});

whereBuilt(`@onnx-qc/qc/runtime${unbuilt}`, () => {
  const runtime = (): string => `file://${join(built(), 'src/runtime/index.js')}`;
  const ort = `file://${join(process.cwd(), 'node_modules/onnxruntime-node/dist/index.js')}`;
  const session = `
    const { InferenceSession, Tensor } = (await import('${ort}')).default;
    const session = await InferenceSession.create('${liar}', { intraOpNumThreads: 1, ...options });
    const { y } = await session.run({ codes: new Tensor('uint8', new Uint8Array(32).fill(128), [1, 32]) });
    await session.release();`;
  const run = (script: string, wish = library): string => {
    const env = { ...process.env, QC_KERNELS: wish };
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], { env, encoding: 'utf8' });
    return stdout + stderr;
  };
  const imported = (): string => `const { kernels } = await import('${runtime()}');`;

  test('gives what a session of stock onnxruntime-node needs', () => {
    const script = `${imported()} const options = kernels.sessionOptions(); ${session} console.log(JSON.stringify({ options, y: y.data[0] }));`;
    expect(JSON.parse(run(script))).toEqual({ options: { extra: { qc: { kernels: library } } }, y: byKernel });
  });

  test('changes no session without these options', () => {
    expect(run(`${imported()} const options = {}; ${session} console.log(y.data[0]);`)).toBe(`${byBody}\n`);
  });

  test('works in worker threads that come and go', async () => {
    const script = `
      const { parentPort } = await import('node:worker_threads');
      ${imported()} const options = kernels.sessionOptions(); ${session} parentPort.postMessage(y.data[0]);`;
    const once = (): Promise<unknown> =>
      new Promise((resolve, reject) => {
        const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`), { execArgv: [] });
        let answer: unknown = null;
        worker.on('message', (y) => (answer = y)).on('error', reject);
        worker.on('exit', () => resolve(answer));
      });
    for (let i = 0; i < 3; i++) expect(await once()).toBe(byKernel);
    expect(await Promise.all([once(), once()])).toEqual([byKernel, byKernel]);
  });

  test('must come before onnxruntime-node: QC5003', () => {
    const script = `await import('${ort}'); ${imported()} console.log(kernels.library); kernels.sessionOptions();`;
    expect(run(script)).toMatch(/^null\n[^]*QC5003[^]*import @onnx-qc\/qc\/runtime before onnxruntime-node/);
  });

  test('refuses what is no library of ours: QC5004', () => {
    const [fake, loader] = [folder.file('fake.so', 'no library'), join(dirname(liar), 'qc_loader.node')];
    symlinkSync(join(dirname(library), 'qc_loader.node'), loader);
    expect(run(`${imported()} kernels.sessionOptions();`, fake)).toMatch(/QC5004: .*fake\.so does not load: .*file too short/);
  });

  test('what ONNX Runtime says of a library that cannot be registered is an error of the session', () => {
    const script = `${imported()} const options = { extra: { qc: { kernels: '/nowhere.so' } } }; ${session}`;
    expect(run(script)).toMatch(/Failed to load library.*nowhere\.so/);
  });
});
