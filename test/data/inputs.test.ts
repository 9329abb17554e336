import { afterAll, describe, expect, test } from '@jest/globals';
import type { DiagnosticCode } from '../../ir/diagnostic-codes.ts';
import type { DType } from '../../ir/types.ts';
import { loadSamples, modelInputs, type InputNames, type ModelInput, type Sample, type SampleOptions } from '../../src/data/samples.ts';
import type { TextTokenizer } from '../../src/data/tokenizer.ts';
import { npy, scratch, zip } from './arrays.ts';

const folder = scratch();
afterAll(() => folder.remove());

/** One token a character: its place in the alphabet. */
const letters: TextTokenizer = { encode: (text) => Array.from(text, (c) => c.charCodeAt(0) - 96) };
const text = folder.file('text.txt', 'abcdefghijkl');

const input = (name: string, dtype: DType = 'i64', shape: ModelInput['shape'] = ['batch', 'seq']): ModelInput => ({ name, dtype, shape });

interface Given extends Partial<Omit<SampleOptions, 'inputs'>>, InputNames {}
const load = async (inputs: readonly ModelInput[], { input: tokens, mask, ...options }: Given = {}): Promise<readonly Sample[]> =>
  loadSamples({ files: [text], seq: 4, tokenizer: letters, inputs: modelInputs(inputs, { input: tokens, mask }), ...options });

const refused = (inputs: readonly ModelInput[], code: DiagnosticCode, message: RegExp, options: Given = {}): Promise<void> =>
  expect(load(inputs, options)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });

const numbers = (sample: Sample | undefined, name: string): readonly number[] => Array.from(sample![name]!.data, Number);
const lines = (...rows: readonly object[]): string => folder.file('rows.jsonl', rows.map((row) => JSON.stringify(row)).join('\n'));
const npz = (arrays: Readonly<Record<string, Uint8Array>>): string => folder.file('arrays.npz', zip(arrays));
const longs = (shape: readonly number[], data: readonly number[]): Uint8Array => npy('<i8', shape, BigInt64Array.from(data, BigInt));

describe('the input that takes tokens', () => {
  const beside = [input('attention_mask'), input('position_ids'), input('token_type_ids'), input('x.mask')];

  test.each(['input.1', 'tokens', 'input_ids:0', 'onnx::Reshape_0'])('%s: the one integer input that is nothing else', async (name) => {
    for (const dtype of ['i64', 'i32'] as const) {
      const samples = await load([...beside, input(name, dtype)], { mask: 'x.mask' });
      expect(samples.map((s) => numbers(s, name))).toEqual([
        [1, 2, 3, 4],
        [5, 6, 7, 8],
        [9, 10, 11, 12],
      ]);
      expect(samples[0]![name]!.dtype).toBe(dtype);
    }
    const line = lines({ [name]: [3, 4, 5, 6, 7] }, { text: 'ab' });
    expect((await load([input(name)], { files: [line] })).map((s) => numbers(s, name))).toEqual([
      [3, 4, 5, 6],
      [1, 2],
    ]);
    for (const files of [[text], [line], [npz({ [`${name}.npy`]: longs([1, 2], [1, 20]) })]])
      await refused([input(name)], 'QC2104', /token \d+ at position \d/, { files, vocabulary: 2 });
  });

  test('input_ids is the one, whatever else may take tokens', async () => {
    const file = lines({ input_ids: [1, 2], decoder_input_ids: [3, 4, 5] });
    const [sample] = await load([input('decoder_input_ids'), input('input_ids'), input('attention_mask')], { files: [file] });
    expect(numbers(sample, 'attention_mask')).toEqual([1, 1]);
  });

  test('among several the user names one', async () => {
    const both = [input('left'), input('right'), input('side', 'f32')];
    await refused(both, 'QC2110', /2 inputs that may take .*\n.*left: i64\[batch,seq\]\n.*right: .*\n.*--input 'left'/);
    const file = lines({ left: [9, 9], right: [1, 2, 3], side: [[1]] });
    const [sample] = await load(both, { input: 'right', files: [file], vocabulary: 4 });
    expect(numbers(sample, 'left')).toEqual([9, 9]);
    await refused([input('left'), input('right')], 'QC2103', /lacks input "left"/, { input: 'right' });
    await refused(both, 'QC2103', /the model has no input "middle"\n.*left, right, side/, { input: 'middle' });
    await refused(both, 'QC2103', /the model has no input "middle"/, { mask: 'middle' });
  });

  test('without one, text is refused, and arrays are taken', async () => {
    await refused([input('x', 'f32')], 'QC2110', /the model has none\n.*x: f32/);
    await refused([input('x', 'f32')], 'QC2110', /rows\.jsonl:1:1: .*the model has none/, { files: [lines({ text: 'a' })] });
    expect(await load([input('x', 'f32')], { files: [lines({ x: [1, 2] })] })).toHaveLength(1);
  });
});

describe('what tokens imply', () => {
  const usual: readonly (readonly [string, readonly number[]])[] = [
    ['attention_mask', [1, 1, 1, 1]],
    ['attention_mask:0', [1, 1, 1, 1]],
    ['input_mask', [1, 1, 1, 1]],
    ['padding_mask.1', [1, 1, 1, 1]],
    ['position_ids', [0, 1, 2, 3]],
    ['positions', [0, 1, 2, 3]],
    ['token_type_ids:0', [0, 0, 0, 0]],
    ['segment_ids', [0, 0, 0, 0]],
  ];
  test.each(usual)('%s', async (name, wanted) => {
    for (const dtype of ['i64', 'i32', 'f32'] as const) {
      const [sample] = await load([input('input_ids'), input(name, dtype)]);
      expect({ ...sample![name], data: numbers(sample, name) }).toEqual({ dtype, shape: [1, 4], data: wanted });
    }
  });

  test.each(['i64', 'i32', 'bool', 'f32', 'f16'] as const)('a mask that the user names, %s', async (dtype) => {
    const inputs = [input('tokens'), input('keep', dtype)];
    await refused(inputs.slice(0, 1).concat(input('keep', 'bool')), 'QC2103', /lacks input "keep" .*\n.*--mask 'keep' is enough/);
    const [sample] = await load(inputs, { mask: 'keep' });
    const one = dtype === 'f16' ? 0x3c00 : 1;
    expect({ ...sample!['keep'], data: numbers(sample, 'keep') }).toEqual({ dtype, shape: [1, 4], data: [one, one, one, one] });
    expect(numbers((await load(inputs, { mask: 'keep', files: [lines({ tokens: [1, 2], keep: [1, 0] })] }))[0], 'keep')).toEqual([one, 0]);
  });

  const cache = (name: string, shape: ModelInput['shape'], dtype: DType = 'f32'): ModelInput => input(name, dtype, shape);
  test.each([
    ['past_key_values.0.key', ['batch', 4, 'past', 16], [1, 4, 0, 16]],
    ['past_key_values.0.value', [null, 4, null, 16], [1, 4, 0, 16]],
    ['past_0', [2, 'batch', 4, 'past_seq', 16], [2, 1, 4, 0, 16]],
    ['cache_k', [1, 4, 'n', 16], [1, 4, 0, 16]],
  ] as const)('an empty cache: %s %j', async (name, shape, wanted) => {
    for (const dtype of ['f32', 'f16'] as const) {
      const [sample] = await load([input('input_ids'), input('attention_mask', 'i64', ['batch', 'total']), cache(name, shape, dtype)]);
      expect({ ...sample![name], data: numbers(sample, name) }).toEqual({ dtype, shape: wanted, data: [] });
      expect(sample!['attention_mask']!.shape).toEqual([1, 4]);
    }
  });

  test.each([
    ['of a fixed length', cache('past_key_values.0.key', ['batch', 4, 8, 16])],
    ['of an encoder', cache('past_key_values.0.encoder.key', ['batch', 4, 'encoder', 16])],
    ['of whole numbers', cache('cache_position', ['n'], 'i64')],
    ['with too many open extents', cache('past_0', ['batch', 'heads', 'past', 16])],
  ])('no cache is made %s', (_, wanted) => refused([input('input_ids'), wanted], 'QC2103', /the data lacks input "(past|cache)/));

  const decoder = [
    input('input_ids'),
    input('attention_mask', 'i64', ['batch', 'past + seq']),
    input('position_ids'),
    cache('past_key_values.0.key', ['batch', 1, 'past', 2]),
    cache('past_key_values.0.encoder.key', ['batch', 1, 'encoder', 2]),
    input('use_cache_branch', 'bool', [1]),
  ];

  test('a merged decoder takes the branch without caches, which reads none', async () => {
    const [sample] = await load(decoder);
    expect(sample!['use_cache_branch']).toEqual({ dtype: 'bool', shape: [1], data: Uint8Array.of(0) });
    expect(sample!['past_key_values.0.encoder.key']!.shape).toEqual([1, 1, 0, 2]);
    expect(numbers(sample, 'position_ids')).toEqual([0, 1, 2, 3]);
  });

  test('caches in the data count for the mask, the positions and the branch', async () => {
    const key = [
      [0.1, 0.2],
      [0.3, 0.4],
      [0.5, 0.6],
    ];
    const arrays = {
      'input_ids.npy': longs([1, 2], [5, 6]),
      'past_key_values.0.key.npy': npy('<f4', [1, 1, 3, 2], Float32Array.from(key.flat())),
      'past_key_values.0.encoder.key.npy': npy('<f4', [1, 1, 1, 2], Float32Array.of(1, 2)),
    };
    const line = { input_ids: [5, 6, 7], 'past_key_values.0.key': [key], 'past_key_values.0.encoder.key': [[[1, 2]]] };
    for (const file of [npz(arrays), lines(line), lines({ ...line, attention_mask: [1, 1, 1, 1, 1, 1] })]) {
      const [sample] = await load(decoder, { files: [file], seq: 2 });
      expect(numbers(sample, 'attention_mask')).toEqual([1, 1, 1, 1, 1]);
      expect(numbers(sample, 'position_ids')).toEqual([3, 4]);
      expect(numbers(sample, 'use_cache_branch')).toEqual([1]);
    }
    await refused(decoder, 'QC2105', /"attention_mask" has 3 numbers .* needs 6/, {
      files: [lines({ ...line, attention_mask: [1, 1, 1] })],
    });
    await refused(decoder, 'QC2111', /a sequence has 5 tokens, and the model has 4 positions/, { files: [npz(arrays)], positions: 4 });
  });
});

describe('lengths', () => {
  const ids = [input('input_ids')];
  const lengths = async (inputs: readonly ModelInput[], options: Given): Promise<readonly (readonly number[])[]> =>
    (await load(inputs, options)).map((s) => s['input_ids']!.shape);
  const long = folder.file('long.txt', 'a'.repeat(600));

  test('by default a sample has 256 tokens, or what the model has positions for, or what it is fixed to', async () => {
    expect(await lengths(ids, { files: [long], seq: undefined })).toEqual([
      [1, 256],
      [1, 256],
    ]);
    expect(await lengths(ids, { files: [long], seq: undefined, positions: 512, samples: 1 })).toEqual([[1, 256]]);
    expect(await lengths(ids, { files: [long], seq: undefined, positions: 100, samples: 1 })).toEqual([[1, 100]]);
    expect(await lengths([input('input_ids', 'i64', ['b', 300])], { files: [long], seq: undefined })).toEqual([
      [1, 300],
      [1, 300],
    ]);
    expect(await lengths(ids, { files: [lines({ text: 'abcdefgh' })], seq: undefined, positions: 5 })).toEqual([[1, 5]]);
  });

  test('more tokens than positions are refused in every kind of file', async () => {
    const [seq, positions] = [8, 6];
    await refused(ids, 'QC2111', /text\.txt: .* has 8 tokens, and the model has 6 positions\n.*at most --seq 6/, { seq, positions });
    // Before the text is found to be too short for such windows.
    await refused(ids, 'QC2111', /has 80 tokens/, { seq: 80, positions });
    const row = [1, 2, 3, 4, 5, 6, 7];
    await refused(ids, 'QC2111', /rows\.jsonl:2:1: .* has 7 tokens/, {
      seq,
      positions,
      files: [lines({ text: 'abc' }, { input_ids: row })],
    });
    await refused(ids, 'QC2111', /arrays\.npz: .* 7 tokens.*\n.*cut the arrays to at most 6/, {
      seq,
      positions,
      files: [npz({ 'input_ids.npy': longs([1, 7], row) })],
    });
    expect(await lengths(ids, { seq, positions, files: [lines({ input_ids: row.slice(1) })] })).toEqual([[1, 6]]);
  });

  test('a fixed length is checked for text and lines', async () => {
    const inputs = [input('input_ids', 'i64', [1, 6])];
    await refused(inputs, 'QC2111', /exactly 6 tokens, not of 4\n.*--seq 6/);
    await refused(inputs, 'QC2111', /exactly 6 tokens, not of 4\n.*--seq 6/, { files: [lines({ text: 'abcdefg' })] });
    await refused(inputs, 'QC2106', /7 needed, 2 found\n.*\n.*give more data, or lower the number of samples to 2$/, {
      seq: 6,
      samples: 7,
    });
    expect(await lengths(inputs, { seq: 6 })).toEqual([
      [1, 6],
      [1, 6],
    ]);
    expect(await lengths(inputs, { seq: undefined, files: [lines({ text: 'abcdefg' })] })).toEqual([[1, 6]]);
    await refused(inputs, 'QC2103', /rows\.jsonl:1:1: .*i64\[1,6\] in the model, i32\[1,3\]/, { seq: 6, files: [lines({ text: 'abc' })] });
  });

  test('windows of text are stacked for a fixed batch, lines have rows', async () => {
    const inputs = [input('input_ids', 'i64', [2, 'seq']), input('attention_mask', 'i64', [2, 'seq'])];
    const samples = await load(inputs, { seq: 3 });
    expect(samples.map((s) => s['input_ids']!.shape)).toEqual([
      [2, 3],
      [2, 3],
    ]);
    expect(samples.map((s) => numbers(s, 'input_ids'))).toEqual([
      [1, 2, 3, 4, 5, 6],
      [7, 8, 9, 10, 11, 12],
    ]);
    expect(numbers(samples[0], 'attention_mask')).toEqual([1, 1, 1, 1, 1, 1]);
    await refused(inputs, 'QC2106', /4 needed, 2 found\n.*4 windows of 3; the model takes 2 windows at a time\n.*--seq to 1,/, {
      seq: 3,
      samples: 4,
    });
    const rows = {
      input_ids: [
        [1, 2, 3, 4],
        [5, 6, 7, 8],
      ],
      attention_mask: [
        [1, 1, 1, 1],
        [1, 1, 1, 0],
      ],
    };
    const [sample] = await load(inputs, { seq: 3, files: [lines(rows)] });
    expect(numbers(sample, 'input_ids')).toEqual([1, 2, 3, 5, 6, 7]);
    expect(numbers(sample, 'attention_mask')).toEqual([1, 1, 1, 1, 1, 1]);
    await refused(inputs, 'QC2105', /"input_ids" is 2 lists of equal length.*found the shape \[3\]/, {
      files: [lines({ input_ids: [1, 2, 3] })],
    });
    await refused(inputs, 'QC2103', /one sequence, and the model takes 2 at a time\n.*"input_ids" has 2 lists/, {
      files: [lines({ text: 'abc' })],
    });
  });
});

test('a model without inputs takes no data', () => refused([], 'QC2103', /the model has no inputs/));
