import { afterAll, describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readModel, writeModel } from '../../codegen/index.ts';
import { parseGraph } from '../../ir/index.ts';
import { bench, compile, evaluate, type CompileOptions, type DataOptions } from '../../src/index.ts';
import { f32, model, node, number, value } from '../codegen/models.ts';
import { scratch } from './arrays.ts';

const folder = scratch();
afterAll(() => folder.remove());

const words = ['a', 'b', 'c', 'd', 'e', 'f', 'g', '[UNK]'];
const tokenizer = folder.file(
  'tokenizer.json',
  JSON.stringify({
    version: '1.0',
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: 'WhitespaceSplit' },
    post_processor: null,
    decoder: null,
    model: { type: 'WordLevel', unk_token: '[UNK]', vocab: Object.fromEntries(words.map((word, i) => [word, i])) },
  }),
);
const text = folder.file('text.txt', Array.from({ length: 70 }, (_, i) => words[(i * i + 3 * i) % 7]).join(' '));
const at = (name: string): string => join(dirname(text), name);

/** A model of language: a table, a norm, two linears, and what `more` makes of its result %h. */
function languageModel(name: string, inputs: string, more = '%y = Identity(%h)', ids = 'input_ids'): string {
  const graph = parseGraph(`graph @language(${inputs}) {
    const %table: f32[8,16] = random 1
    const %inner: f32[16,16] = random 4
    const %w: f32[16,8] = random 2
    const %gain: f32[16] = random 5
    const %bias: f32[16] = random 6
    %e = Gather(%table, %"${ids}")
    %x = LayerNormalization(%e, %gain, %bias)
    %i = MatMul(%x, %inner)
    %h = MatMul(%i, %w)
    ${more}
    %logits = Identity(%y)
    return %logits
  }`);
  return writeModel(graph, at(`${name}.onnx`)).files[0]!.path;
}

const compiled = (path: string, data: DataOptions, more: Partial<CompileOptions> = {}) =>
  compile({
    model: path,
    output: at('compiled.onnx'),
    passes: 'none',
    scheme: 'w8a8',
    target: 'portable',
    data: { samples: 1, ...data },
    ...more,
  });
const quantized = async (path: string, data: DataOptions): Promise<number> =>
  (await compiled(path, data)).ledger.filter((entry) => entry.kind === 'linear' && entry.done.length > 0).length;

const benched = (path: string, seq: number) =>
  bench({ models: [path], seq: [seq], past: 0, runs: 1, threads: 1, kernels: 'off', profile: false });

describe('names of inputs', () => {
  test.each(['input.1', 'tokens', 'onnx::Reshape_0'])('text goes into %s, for compile and eval', async (name) => {
    const path = languageModel('named', `%"${name}": i64[B,S]`, undefined, name);
    const same = languageModel('usual', '%input_ids: i64[B,S]');
    const data = { files: [text], tokenizer, seq: 10 };
    expect(await quantized(path, data)).toBe(2);
    const { perplexity, tokens } = await evaluate({ model: path, data });
    expect({ perplexity, tokens }).toEqual({ perplexity: (await evaluate({ model: same, data })).perplexity, tokens: 63 });
  });

  test('the user names one of several', async () => {
    const path = languageModel(
      'two',
      '%left: i64[B,S], %right: i64[B,S]',
      '%z = Gather(%table, %left) %v = MatMul(%z, %w) %y = Add(%h, %v)',
      'right',
    );
    const data = { files: [folder.file('both.jsonl', '{"left": [1, 2, 3], "right": [4, 5, 6]}')] };
    await expect(evaluate({ model: path, data })).rejects.toMatchObject({ code: 'QC2103', message: expect.stringContaining('--input') });
    expect((await evaluate({ model: path, data: { ...data, input: 'right' } })).tokens).toBe(2);
    const noText = compiled(path, { files: [text], tokenizer });
    await expect(noText).rejects.toMatchObject({ code: 'QC2110', message: expect.stringMatching(/left: .*\n.*right: /) });
  });
});

describe('the mask', () => {
  // Padding is a token that the others are not.
  const rows = [
    { ids: [1, 2, 3, 0, 0], keep: [1, 1, 1, 0, 0] },
    { ids: [4, 5, 6, 2, 1], keep: [1, 1, 1, 1, 1] },
  ];
  /** The ranges that calibration finds, and the weights that os+ scales by its search. */
  const found = async (
    mask: string,
    dtype: string,
    names: { readonly mask?: string },
  ): Promise<readonly [ranges: string, weights: string]> => {
    const path = languageModel(
      'masked',
      `%input_ids: i64[B,S], %${mask}: ${dtype}[B,S]`,
      `%m = Cast(%${mask}) {to = 9} %n = Cast(%m) {to = 1} const %last: i64[1] = [2] %o = Unsqueeze(%n, %last) %y = Mul(%h, %o)`,
    );
    const files = [folder.file('padded.jsonl', rows.map(({ ids, keep }) => JSON.stringify({ input_ids: ids, [mask]: keep })).join('\n'))];
    const { files: written } = await compiled(
      path,
      { files, samples: rows.length, ...names },
      { passes: 'os+', saveCalibration: at('ranges') },
    );
    const weights = [...readModel(written[0]!.path).constants].map((v) => Buffer.from(v.constant!.bytes()).toString('hex'));
    return [readFileSync(at('ranges'), 'latin1'), weights.join(' ')];
  };

  test.each(['i64', 'i32', 'bool', 'f32'])('takes padding out under any name that the user gives: %s', async (dtype) => {
    const usual = await found('attention_mask', 'i64', {});
    expect(await found('keep', dtype, { mask: 'keep' })).toEqual(usual);
    expect(await found('input_mask', dtype, {})).toEqual(usual);
    const [ranges, weights] = await found('keep', dtype, {});
    expect(ranges).not.toBe(usual[0]);
    expect(weights).not.toBe(usual[1]);
  });
});

describe('caches', () => {
  const attention = (keys: string): string => `%k = ${keys} %t = Transpose(%k) {perm = [0, 2, 1]} %scores = MatMul(%x, %t)
    %p = Softmax(%scores) %c = MatMul(%p, %k) %o = MatMul(%c, %w) %y = Add(%h, %o)`;

  test('a decoder takes tokens alone: its caches start empty', async () => {
    const cached = languageModel('past', '%input_ids: i64[B,S], %past_0: f32[B,P,16]', attention('Concat(%past_0, %x) {axis = 1}'));
    const without = languageModel('plain', '%input_ids: i64[B,S]', attention('Identity(%x)'));
    const data = { files: [text], tokenizer, seq: 10 };
    expect(await quantized(cached, data)).toBe(3);
    const [a, b] = [await evaluate({ model: cached, data }), await evaluate({ model: without, data })];
    expect(a.perplexity! / b.perplexity!).toBeCloseTo(1, 6);
  });

  test('a merged decoder takes the branch that reads no cache', async () => {
    const branches = `%y = If(%use_cache_branch) {
      then_branch = graph @then() { %zero = Sub(%h, %h) return %zero },
      else_branch = graph @else() { %same = Identity(%h) return %same }
    }`;
    const merged = languageModel('merged', '%input_ids: i64[B,S], %past_0: f32[B,P,16], %use_cache_branch: bool[1]', branches);
    const plain = languageModel('plain', '%input_ids: i64[B,S]');
    const data = { files: [text], tokenizer, seq: 10 };
    expect((await evaluate({ model: merged, data })).perplexity).toBe((await evaluate({ model: plain, data })).perplexity);
  });
});

describe('fixed extents', () => {
  const open = languageModel('open', '%input_ids: i64[B,S]');
  const single = languageModel('single', '%input_ids: i64[1,16]');
  const four = languageModel('four', '%input_ids: i64[4,16]');
  const data = { files: [text], tokenizer };

  test('text is cut and stacked as the model takes it', async () => {
    expect(await quantized(single, data)).toBe(2);
    expect(await quantized(four, data)).toBe(2);
    const found = await evaluate({ model: four, data });
    expect(found).toMatchObject({ windows: 1, tokens: 60 });
    const wanted = (await evaluate({ model: open, data: { ...data, seq: 16 } })).perplexity!;
    for (const { perplexity } of [found, await evaluate({ model: single, data })]) expect(perplexity! / wanted).toBeCloseTo(1, 6);
  });

  test.each([single, four])('another --seq is refused: %s', async (path) => {
    const wrong = { code: 'QC2111', message: expect.stringMatching(/exactly 16 tokens, not of 10\n.*--seq 16/) };
    await expect(compiled(path, { ...data, seq: 10 })).rejects.toMatchObject(wrong);
    await expect(evaluate({ model: path, data: { ...data, seq: 10 } })).rejects.toMatchObject(wrong);
  });

  test('one token predicts none', () =>
    expect(evaluate({ model: open, data: { ...data, seq: 1 } })).rejects.toMatchObject({ code: 'QC2106' }));
});

describe('more tokens than positions', () => {
  const sliced = `const %positions: f32[1,12,8] = random 3 const %zero: i64[1] = [0] const %one: i64[1] = [1]
    %shape = Shape(%input_ids) %end = Gather(%shape, %one)`;

  test('a sliced table: compile, eval and bench name its length', async () => {
    const path = languageModel(
      'sliced',
      '%input_ids: i64[B,S]',
      `${sliced} %cut = Slice(%positions, %zero, %end, %one) %y = Add(%h, %cut)`,
    );
    const data = { files: [text], tokenizer };
    const wrong = { code: 'QC2111', message: expect.stringContaining('13 tokens, and the model has 12 positions') };
    for (const run of [compiled(path, { ...data, seq: 13 }), evaluate({ model: path, data: { ...data, seq: 13 } }), benched(path, 13)])
      await expect(run).rejects.toMatchObject(wrong);
    expect(await evaluate({ model: path, data })).toMatchObject({ windows: 5, tokens: 55 });
  });

  test('a table that is not recognised: the error of ONNX Runtime gets a hint', async () => {
    const path = languageModel(
      'hidden',
      '%input_ids: i64[B,S]',
      `${sliced} %twice = Concat(%end, %end) {axis = 0} %far = ReduceMax(%twice) %cut = Slice(%positions, %zero, %far, %one) %y = Add(%h, %cut)`,
    );
    const data = { files: [text], tokenizer, seq: 13 };
    const hinted = { code: 'QC5001', message: expect.stringMatching(/hint: .*fewer positions than the sample has tokens, lower --seq/) };
    await expect(compiled(path, data)).rejects.toMatchObject(hinted);
    // Without checks nothing runs that no observer needs, and the table is read behind the last one.
    await expect(compiled(path, data, { verify: false })).resolves.toMatchObject({ exactDifference: null });
    await expect(evaluate({ model: path, data })).rejects.toMatchObject(hinted);
    expect((await evaluate({ model: path, data: { ...data, seq: 12 } })).windows).toBe(5);
  });
});

describe('models that no data fits', () => {
  const q = { name: 'q', type: { sequenceType: { elemType: { tensorType: { elemType: number('f32'), shape: { dim: [] } } } } } };
  const x = value('x', 'f32', ['B', 4]);
  const product = node('MatMul', ['x', 'w'], ['y']);
  const initializer = [f32('w', [4, 4], [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1])];
  const output = [value('y', 'f32', ['B', 4])];
  const made = {
    'no inputs': model({ node: [node('MatMul', ['w', 'w'], ['y'])], initializer, input: [], output }),
    strings: model({
      node: [product, node('Identity', ['s'], ['t'])],
      initializer,
      input: [x, value('s', 'string', ['B'])],
      output: [...output, value('t', 'string', ['B'])],
    }),
    'a sequence': model({
      node: [product, node('SequenceLength', ['q'], ['n'])],
      initializer,
      input: [x, q],
      output: [...output, value('n', 'i64', [])],
    }),
  };
  const files = [folder.file('x.jsonl', '{"x": [1, 2, 3, 4]}')];

  test.each([
    ['no inputs', /the model has no inputs/],
    ['strings', /input "s" of the model is string/],
    ['a sequence', /input "q" of the model is no tensor/],
  ] as const)('%s', async (kind, message) => {
    const path = folder.file('odd.onnx', made[kind]);
    const wrong = { code: 'QC2103', message: expect.stringMatching(message) };
    await expect(compiled(path, { files })).rejects.toMatchObject(wrong);
    await expect(compiled(path, { files: [text], tokenizer })).rejects.toMatchObject(wrong);
    await expect(evaluate({ model: path, data: { files }, against: path })).rejects.toMatchObject(wrong);
    if (kind !== 'no inputs') await expect(benched(path, 4)).rejects.toMatchObject(wrong);
  });
});
