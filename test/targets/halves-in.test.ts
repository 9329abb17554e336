import { statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { NodeProto, TensorProto } from '../../codegen/onnx/proto.ts';
import { floatsFromHalf } from '../../ir/float16.ts';
import { encodeFloats, floats, inMemory } from '../../ir/tensor.ts';
import { sizeOf, type DType } from '../../ir/types.ts';
import type { Feeds, HostTensor } from '../../passes/index.ts';
import { evaluate } from '../../src/eval/evaluate.ts';
import { OrtExecutor } from '../../src/runtime/ort-executor.ts';
import { graphAttribute, i64, intAttribute, model, node, number, raw, tensorAttribute, value } from '../codegen/models.ts';
import { scratch } from '../data/arrays.ts';
import { compileBytes, floatAttribute, interfaceOf, protoIn, quantizedIn } from '../support/compiled.ts';
import { cosine, numbers } from '../support/run.ts';

const [vocabulary, channels, wide] = [600, 16, 32];
type Half = 'f16' | 'bf16';

/** Numbers as `half` rounds them, in `stored`: the same ones in the model and in its counterpart of f32. */
function constant(name: string, half: Half, stored: DType, dims: readonly number[], data: ArrayLike<number>): TensorProto {
  const rounded = floats(inMemory(half, dims, encodeFloats(half, Float32Array.from(data))));
  const kept = encodeFloats(stored, rounded);
  return raw(name, stored, dims, new Uint8Array(kept.buffer, kept.byteOffset, kept.byteLength));
}

const castTo = (dtype: DType): Partial<NodeProto> => ({ attribute: [intAttribute('to', number(dtype))] });

/**
 * Tokens and an input of f16 in, logits and a hidden value of f16 out. Inside, in `half`: a table, norms, an MLP, a ConstantOfShape, a part
 * in f32 between Casts, an If whose bodies hold constants. With `half` f16 and `inner` f32 it is the counterpart, which computes in f32.
 */
function languageModel(half: Half, inner: DType, ports: DType): Uint8Array {
  const c = (name: string, dims: readonly number[], seed: number, scale: (i: number) => number): TensorProto =>
    constant(
      name,
      half,
      inner,
      dims,
      numbers(sizeOf(dims), seed).map((x, i) => x * scale(i)),
    );
  const norm = (from: string, to: string) =>
    node('LayerNormalization', [from, 'g', 'b'], [to], { attribute: [floatAttribute('epsilon', 1e-5)] });
  const branch = (name: string, factor: number) =>
    graphAttribute(`${name}_branch`, {
      name,
      initializer: [constant(`${name}_k`, half, inner, [1], [factor])],
      node: [
        node('Constant', [], [`${name}_c`], { attribute: [tensorAttribute('value', constant('', half, inner, [], [0.25]))] }),
        node('Mul', ['y', `${name}_k`], [`${name}_m`]),
        node('Add', [`${name}_m`, `${name}_c`], [`${name}_y`]),
      ],
      output: [value(`${name}_y`, inner, ['batch', 'seq', channels])],
    });
  return model({
    input: [value('input_ids', 'i64', ['batch', 'seq']), value('x', ports, ['batch', 'seq', channels]), value('flag', 'bool', [])],
    initializer: [
      c('table', [vocabulary, channels], 1, () => 2),
      c('g', [channels], 2, (i) => (i % 5 === 0 ? 6 : 1)),
      c('b', [channels], 3, (i) => (i % 7 === 0 ? 4 : 0.3)),
      c('w1', [channels, wide], 4, () => 0.4),
      c('b1', [wide], 5, () => 1),
      c('w2', [wide, channels], 6, () => 0.3),
      c('wh', [channels, vocabulary], 7, () => 0.5),
      constant('half', half, inner, [], [0.5]),
      i64('width', [1], [channels]),
    ],
    node: [
      node('Gather', ['table', 'input_ids'], ['e']),
      node('Cast', ['x'], ['x_inner'], castTo(inner)),
      node('Add', ['e', 'x_inner'], ['a']),
      node('ConstantOfShape', ['width'], ['filled'], { attribute: [tensorAttribute('value', constant('', half, inner, [1], [0.125]))] }),
      node('Add', ['a', 'filled'], ['a2']),
      norm('a2', 'h'),
      node('MatMul', ['h', 'w1'], ['p']),
      node('Add', ['p', 'b1'], ['s']),
      node('Relu', ['s'], ['r']),
      node('MatMul', ['r', 'w2'], ['o']),
      node('Add', ['a2', 'o'], ['y']),
      node('If', ['flag'], ['chosen'], { attribute: [branch('then', 1.5), branch('else', 0.5)] }),
      node('Cast', ['chosen'], ['upper'], castTo('f32')),
      node('Tanh', ['upper'], ['bent']),
      node('Cast', ['bent'], ['lower'], castTo(inner)),
      node('Add', ['lower', 'y'], ['end']),
      norm('end', 'n'),
      node('MatMul', ['n', 'wh'], ['scores']),
      node('Cast', ['scores'], ['logits'], castTo(ports)),
      node('Cast', ['end'], ['hidden'], castTo(ports)),
    ],
    output: [value('logits', ports, ['batch', 'seq', vocabulary]), value('hidden', ports, ['batch', 'seq', channels])],
  });
}

const folder = scratch();
const executor = new OrtExecutor({ threads: 1 });
afterAll(async () => {
  await executor.close();
  folder.remove();
});

const tokens = 8;
const ids = (seed: number): readonly number[] => Array.from({ length: tokens }, (_, i) => (seed * 97 + i * 31) % vocabulary);
const added = (seed: number): readonly number[] => Array.from(numbers(tokens * channels, 50 + seed));
const line = (seed: number): string => {
  const x = Array.from({ length: tokens }, (_, t) => added(seed).slice(t * channels, (t + 1) * channels));
  return JSON.stringify({ input_ids: [ids(seed)], x: [x], flag: seed % 2 });
};
let data = '';
beforeAll(() => {
  data = folder.file('data.jsonl', [1, 2, 3, 4].map(line).join('\n'));
});

const feeds = (flag: number, ports: DType): Feeds => ({
  input_ids: { dtype: 'i64', shape: [1, tokens], data: BigInt64Array.from(ids(7), BigInt) },
  x: { dtype: ports, shape: [1, tokens, channels], data: encodeFloats(ports, Float32Array.from(added(7))) } as HostTensor,
  flag: { dtype: 'bool', shape: [], data: Uint8Array.of(flag) },
});

async function outputsOf(path: string, flag: number, ports: DType): Promise<Readonly<Record<string, Float32Array>>> {
  const program = await executor.openFile(path);
  const found = await program.run(feeds(flag, ports));
  await program.close();
  return Object.fromEntries(
    Object.entries(found).map(([name, t]) => [name, t.data instanceof Uint16Array ? floatsFromHalf(t.data) : (t.data as Float32Array)]),
  );
}

describe.each(['f16', 'bf16'] as const)('a model of %s with inputs and outputs of f16', (half) => {
  const bytes = languageModel(half, half, 'f16');
  const declared = {
    inputs: ['input_ids: 7[batch,seq]', 'x: 10[batch,seq,16]', 'flag: 9[]'],
    outputs: ['logits: 10[batch,seq,600]', 'hidden: 10[batch,seq,16]'],
  };

  test.each([
    ['portable', 'w8a8', 0.99],
    ['ort-cpu', 'w8a8', 0.99],
    ['qc-cpu', 'w8a8', 0.99],
    // Weights of 4 bits, two of them in 32 rows: what is lost is theirs.
    ['ort-cuda', 'w4a16', 0.97],
  ] as const)('for %s (%s) keeps types, the table in two bytes an element, and its results', async (target, scheme, least) => {
    const { output, report } = await compileBytes(folder, `lm-${half}`, bytes, {
      target,
      scheme,
      data: { files: [data], seq: tokens },
      passes: target === 'ort-cuda' ? 'none' : 'rptq,os+{threshold=2}',
    });
    expect(quantizedIn(report)).toBe(2);
    expect(interfaceOf(protoIn(output))).toEqual(declared);
    const tables = protoIn(output).graph!.initializer!.filter((t) => sizeOf((t.dims ?? []).map(Number)) === vocabulary * channels);
    for (const t of tables) expect([number('f16'), number('bf16')]).toContain(t.dataType);
    expect(tables.length).toBeGreaterThan(0);
    // The table and the head at two bytes, and small things beside them.
    expect(statSync(output).size).toBeLessThan(2 * 2 * vocabulary * channels + 40_000);
    const float32Model = folder.file(`float32-${half}.onnx`, languageModel(half, 'f32', 'f32'));
    for (const flag of [0, 1]) {
      const [float, found] = [await outputsOf(float32Model, flag, 'f32'), await outputsOf(output, flag, 'f16')];
      expect(Object.keys(found)).toEqual(['logits', 'hidden']);
      for (const name of Object.keys(float)) expect([name, cosine(float[name]!, found[name]!) > least]).toEqual([name, true]);
    }
    const { perplexity } = await evaluate({ model: output, data: { files: [data], seq: tokens }, threads: 1 });
    const reference = await evaluate({ model: float32Model, data: { files: [data], seq: tokens }, threads: 1 });
    expect(Math.abs(Math.log(perplexity! / reference.perplexity!))).toBeLessThan(0.5);
  });
});

test('inputs and outputs of bf16 stay declared so', async () => {
  const bytes = languageModel('bf16', 'bf16', 'bf16');
  const { output, report } = await compileBytes(folder, 'bf16-ports', bytes, {
    target: 'portable',
    data: { files: [data], seq: tokens },
    passes: 'none',
  });
  expect(quantizedIn(report)).toBe(2);
  expect(interfaceOf(protoIn(output))).toEqual({
    inputs: ['input_ids: 7[batch,seq]', 'x: 16[batch,seq,16]', 'flag: 9[]'],
    outputs: ['logits: 16[batch,seq,600]', 'hidden: 16[batch,seq,16]'],
  });
});
