import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { GraphProto, NodeProto, TensorProto } from '../codegen/onnx/proto.ts';
import { int64 } from '../codegen/onnx/proto.ts';
import { QcError } from '../ir/index.ts';
import type { CompileOptions } from '../src/compile.ts';
import { qc, removeTemporary } from './cli/binary.ts';
import { f32, i64, intAttribute, model, node, raw, run, value, floatsOf, longsOf } from './codegen/models.ts';
import { scratch } from './data/arrays.ts';
import { compileBytes, mlpConstants, mlpNodes, quantizedIn, sampleOf, samplesFile } from './support/compiled.ts';
import { cosine } from './support/run.ts';

const folder = scratch();
let calibration = '';
beforeAll(() => {
  calibration = samplesFile(folder, 'x.jsonl');
});
afterAll(() => {
  folder.remove();
  removeTemporary();
});

const wide = (name: string) => value(name, 'f32', ['batch', 'seq', 16]);
const microsoft = [
  { domain: '', version: int64(21) },
  { domain: 'com.microsoft', version: int64(1) },
];
const mlp = (more: { readonly nodes?: readonly NodeProto[]; readonly constants?: readonly TensorProto[]; readonly output?: string } = {}) =>
  model(
    {
      input: [wide('x')],
      initializer: [...mlpConstants().filter((t) => !more.constants?.some((c) => c.name === t.name)), ...(more.constants ?? [])],
      node: [...mlpNodes(), ...(more.nodes ?? [])],
      output: [wide(more.output ?? 'y')],
    },
    { opsetImport: microsoft },
  );

/** The constant of the MLP with one element that is not finite, or with all of them so. */
function spoiled(name: string, bad: number, all = false): TensorProto {
  const was = mlpConstants().find((t) => t.name === name)!;
  const bytes = Uint8Array.from(was.rawData!);
  const data = new Float32Array(bytes.buffer);
  if (all) data.fill(bad);
  else data[Math.floor(data.length / 3)] = bad;
  return { ...was, rawData: bytes };
}

interface Outcome {
  readonly code: string | null;
  readonly message: string;
  /** Files that the compile left beside the model. */
  readonly written: readonly string[];
}

const refused = /^QC(4109|2107)$/;

let made = 0;
async function outcomeOf(bytes: Uint8Array, options: Partial<CompileOptions> = {}): Promise<Outcome> {
  const name = `case-${made++}`;
  const written = (): readonly string[] =>
    readdirSync(dirname(calibration)).filter((f) => f.startsWith(`${name}.`) && f !== `${name}.onnx`);
  try {
    await compileBytes(folder, name, bytes, { data: { files: [calibration] }, passes: 'rptq,os+{threshold=2}', ...options });
    return { code: null, message: '', written: written() };
  } catch (error) {
    if (!(error instanceof QcError)) throw error;
    return { code: error.code, message: error.message, written: written() };
  }
}

describe('a constant that is not finite is an error, and nothing is written', () => {
  test.each([
    ['one NaN in the first weight', 'w1', Number.NaN, false],
    ['one infinity in the first weight', 'w1', Infinity, false],
    ['one NaN in the second weight', 'w2', Number.NaN, false],
    ['one negative infinity in the second weight', 'w2', -Infinity, false],
    ['a weight of NaN alone', 'w2', Number.NaN, true],
    ['one NaN in the gain of a norm', 'g', Number.NaN, false],
    ['one infinity in a bias', 'b1', Infinity, false],
  ] as const)('%s', async (_, name, bad, all) => {
    const bytes = mlp({ constants: [spoiled(name, bad, all)] });
    for (const verify of [true, false]) {
      const { code, written } = await outcomeOf(bytes, { verify, target: verify ? 'ort-cpu' : 'portable' });
      expect({ verify, code, written }).toEqual({ verify, code: expect.stringMatching(refused), written: [] });
    }
  });
  test('weights alone, without data', async () => {
    const constants = [spoiled('w1', Number.NaN)];
    for (const target of ['ort-cpu', 'ort-cuda'])
      expect(await outcomeOf(mlp({ constants }), { passes: 'none', scheme: 'w4a16', target, data: undefined })).toMatchObject({
        code: expect.stringMatching(refused),
        written: [],
      });
  });
  test('the command ends with 1 or 3, and leaves no file', async () => {
    const [input, output] = [
      folder.file('nan.onnx', mlp({ constants: [spoiled('w1', Number.NaN)] })),
      `${dirname(calibration)}/nan-out.onnx`,
    ];
    const { code, stderr } = await qc(['compile', input, '-p', 'none', '--calib', calibration, '--samples', '4', '-o', output]);
    expect([1, 3]).toContain(code);
    expect(stderr).toMatch(/error QC(4109|2107)/);
    expect(existsSync(output)).toBe(false);
  });
});

describe('values that are not finite', () => {
  test('throughout an output are QC2107, which names the first of them', async () => {
    const nodes = [
      node('Abs', ['y'], ['size']),
      node('Neg', ['size'], ['below']),
      node('Log', ['below'], ['lost']),
      node('Exp', ['lost'], ['end']),
    ];
    const { code, message, written } = await outcomeOf(mlp({ nodes, output: 'end' }));
    expect({ code, written }).toEqual({ code: 'QC2107', written: [] });
    expect(message).toMatch(/%lost is NaN or infinite/);
  });
  test('in padding whose row is masked altogether are no error, and the other tokens keep their results', async () => {
    const tokens = 6;
    // Scores of padding with every token are -inf, so that its row is NaN: 0 / 0.
    const graph: GraphProto = {
      input: [wide('x'), value('attention_mask', 'i64', ['batch', 'seq'])],
      initializer: [
        ...mlpConstants(),
        f32(
          'wv',
          [16, 16],
          sampleOf(21, 16).map((v) => 0.2 * v),
        ),
        f32('least', [], [-Infinity]),
        f32('none', [], [0]),
        i64('one', [1], [1]),
        i64('two', [1], [2]),
      ],
      node: [
        node('Cast', ['attention_mask'], ['kept'], { attribute: [intAttribute('to', 9)] }),
        node('Unsqueeze', ['kept', 'one'], ['row']),
        node('Unsqueeze', ['kept', 'two'], ['column']),
        node('And', ['row', 'column'], ['seen']),
        node('Where', ['seen', 'none', 'least'], ['mask']),
        ...mlpNodes(),
        node('MatMul', ['y', 'wv'], ['v']),
        node('Transpose', ['v'], ['vt'], { attribute: [{ name: 'perm', type: 7, ints: [int64(0), int64(2), int64(1)] }] }),
        node('MatMul', ['v', 'vt'], ['scores']),
        node('Add', ['scores', 'mask'], ['masked']),
        node('Softmax', ['masked'], ['probabilities'], { attribute: [intAttribute('axis', -1)] }),
        node('MatMul', ['probabilities', 'v'], ['context']),
        node('Add', ['y', 'context'], ['sum']),
        node('LayerNormalization', ['sum', 'g', 'b'], ['n']),
        node('MatMul', ['n', 'w1'], ['p2']),
        node('Relu', ['p2'], ['r2']),
        node('MatMul', ['r2', 'w2'], ['o2']),
        node('Add', ['sum', 'o2'], ['z']),
      ],
      output: [wide('z')],
    };
    const mask = [1, 1, 1, 1, 0, 0];
    const padded = samplesFile(folder, 'padded.jsonl', { attention_mask: [mask] });
    for (const target of ['portable', 'ort-cpu', 'qc-cpu']) {
      const {
        model: path,
        output,
        report,
      } = await compileBytes(folder, 'padding', model(graph), {
        target,
        data: { files: [padded] },
        passes: 'rptq,os+{threshold=2}',
      });
      expect(quantizedIn(report)).toBeGreaterThanOrEqual(4);
      const feeds = { x: floatsOf(sampleOf(3, tokens), [1, tokens, 16]), attention_mask: longsOf(mask, [1, tokens]) };
      const [was, now] = [(await run(path, feeds))['z'] as number[], (await run(output, feeds))['z'] as number[]];
      const seen = 4 * 16;
      expect([target, was.slice(seen).every(Number.isNaN)]).toEqual([target, true]);
      expect([target, cosine(was.slice(0, seen), now.slice(0, seen)) > 0.99]).toEqual([target, true]);
    }
  });
});

describe('a model that is quantized already is QC4108, and nothing is written', () => {
  const bytes = (name: string, dtype: 'i8' | 'u8', dims: readonly number[]): TensorProto =>
    raw(
      name,
      dtype,
      dims,
      Uint8Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => i % 100),
    );
  const scale = f32('scale', [], [0.02]);
  test.each([
    [
      'QuantizeLinear and DequantizeLinear',
      mlp({
        constants: [scale, bytes('zero', 'u8', [])],
        nodes: [node('QuantizeLinear', ['y', 'scale', 'zero'], ['q']), node('DequantizeLinear', ['q', 'scale', 'zero'], ['z'])],
        output: 'z',
      }),
      /1 QuantizeLinear, 1 DequantizeLinear/,
    ],
    [
      'a weight behind DequantizeLinear',
      mlp({
        constants: [scale, bytes('q8', 'i8', [16, 16])],
        nodes: [node('DequantizeLinear', ['q8', 'scale'], ['w8']), node('MatMul', ['y', 'w8'], ['z'])],
        output: 'z',
      }),
      /1 DequantizeLinear/,
    ],
    [
      'MatMulNBits',
      mlp({
        constants: [
          bytes('packed', 'u8', [16, 1, 8]),
          f32(
            'scales',
            [16],
            Array.from({ length: 16 }, () => 0.1),
          ),
        ],
        nodes: [
          node('MatMulNBits', ['y', 'packed', 'scales'], ['z'], {
            domain: 'com.microsoft',
            attribute: [intAttribute('K', 16), intAttribute('N', 16), intAttribute('bits', 4), intAttribute('block_size', 16)],
          }),
        ],
        output: 'z',
      }),
      /1 com\.microsoft\.MatMulNBits/,
    ],
    [
      'DynamicQuantizeLinear and MatMulInteger',
      mlp({
        constants: [bytes('q8', 'i8', [16, 16])],
        nodes: [
          node('DynamicQuantizeLinear', ['y'], ['yq', 'ys', 'yz']),
          node('MatMulInteger', ['yq', 'q8', 'yz'], ['zi']),
          node('Cast', ['zi'], ['zf'], { attribute: [intAttribute('to', 1)] }),
          node('Mul', ['zf', 'ys'], ['z']),
        ],
        output: 'z',
      }),
      /1 DynamicQuantizeLinear, 1 MatMulInteger/,
    ],
  ])('%s', async (_, quantized, words) => {
    const { code, message, written } = await outcomeOf(quantized);
    expect({ code, written }).toEqual({ code: 'QC4108', written: [] });
    expect(message).toMatch(words);
  });
  test('one that qc wrote, by its exit code 3', async () => {
    const { output } = await compileBytes(folder, 'once', mlp(), { data: { files: [calibration] }, passes: 'none' });
    const again = `${output}.again.onnx`;
    const { code, stderr } = await qc(['compile', output, '-p', 'none', '--calib', calibration, '--samples', '4', '-o', again]);
    expect({ code, stderr }).toEqual({
      code: 3,
      stderr: expect.stringMatching(/error QC4108: .* was written by qc, with the pipeline raise,/),
    });
    expect(readdirSync(dirname(again)).filter((f) => f.startsWith(basename(again)))).toEqual([]);
  });
});

describe('a model without linears', () => {
  const bytes = model({ input: [wide('x')], node: [node('Relu', ['x'], ['y'])], output: [wide('y')] });
  test('is written, with the warning QC3303', async () => {
    const { output, report } = await compileBytes(folder, 'no-linears', bytes, { data: { files: [calibration] } });
    expect(report.diagnostics.map((d) => [d.code, d.severity])).toEqual([['QC3303', 'warning']]);
    expect(existsSync(output)).toBe(true);
  });
  test('ends the command with 0, and with 1 and no file where it is strict', async () => {
    const input = folder.file('relu.onnx', bytes);
    const output = `${dirname(input)}/relu-out.onnx`;
    const args = ['compile', input, '-p', 'rptq,os+', '--calib', calibration, '--samples', '4', '-o', output];
    const strict = await qc([...args, '--strict']);
    expect({ ...strict, stdout: '' }).toMatchObject({ code: 1, stderr: expect.stringContaining('QC2201') });
    expect(existsSync(output)).toBe(false);
    const plain = await qc(args);
    expect({ ...plain, stdout: '' }).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/warning QC3303: no weights .*no linear was recognised/),
    });
    expect(existsSync(output)).toBe(true);
  });
});
