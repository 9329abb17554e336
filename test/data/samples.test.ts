import { afterAll, describe, expect, test } from '@jest/globals';
import type { DiagnosticCode } from '../../ir/diagnostic-codes.ts';
import type { DType } from '../../ir/types.ts';
import { loadSamples, modelInputs, type InputNames, type ModelInput, type Sample, type SampleOptions } from '../../src/data/samples.ts';
import type { TextTokenizer } from '../../src/data/tokenizer.ts';
import { npy, scratch, zip } from './arrays.ts';

const folder = scratch();
afterAll(() => folder.remove());

/** One token a character: its code; 1 in front as the special token. */
const characters: TextTokenizer = {
  encode: (text, { addSpecialTokens }) => [...(addSpecialTokens ? [1] : []), ...Array.from(text, (c) => c.codePointAt(0)!)],
};

const input = (name: string, dtype: DType = 'i64', shape: ModelInput['shape'] = ['batch', 'seq']): ModelInput => ({ name, dtype, shape });
const ids = [input('input_ids')];
const idsAndMask = [...ids, input('attention_mask')];

interface Given extends Partial<Omit<SampleOptions, 'inputs'>>, InputNames {
  readonly files: readonly string[];
  readonly inputs?: readonly ModelInput[];
}
const load = async ({ input: tokens, mask, inputs = ids, ...options }: Given): Promise<readonly Sample[]> =>
  loadSamples({ seq: 4, tokenizer: characters, inputs: modelInputs(inputs, { input: tokens, mask }), ...options });

const numbers = (sample: Sample | undefined, name = 'input_ids'): number[] => Array.from(sample![name]!.data, Number);
const texts = (samples: readonly Sample[]): string[] => samples.map((s) => String.fromCodePoint(...numbers(s)));

const refused = (options: Given, code: DiagnosticCode, message: RegExp): Promise<void> =>
  expect(load(options)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });

describe('text', () => {
  const first = folder.file('first.txt', 'abcdef');
  const second = folder.file('second.txt', 'ghijklmnop');

  test('texts are joined and cut into windows, the incomplete last one dropped', async () => {
    const samples = await load({ files: [first, second] });
    expect(texts(samples)).toEqual(['abcd', 'efgh', 'ijkl', 'mnop']);
    expect(samples[0]).toEqual({ input_ids: { dtype: 'i64', shape: [1, 4], data: BigInt64Array.of(97n, 98n, 99n, 100n) } });
    expect(texts(await load({ files: [second], seq: 3 }))).toEqual(['ghi', 'jkl', 'mno']);
  });

  test('without a seed the first windows are taken', async () => {
    expect(texts(await load({ files: [first, second], samples: 2 }))).toEqual(['abcd', 'efgh']);
  });

  test('with a seed the choice is random, the same each time, and in the order of the text', async () => {
    const long = folder.file('long.txt', Array.from({ length: 100 }, (_, i) => String(i).padStart(4, '0')).join(''));
    const pick = async (seed: number): Promise<string[]> => texts(await load({ files: [long], samples: 10, seed }));
    const chosen = await pick(7);
    expect(chosen).toEqual(await pick(7));
    expect(chosen).toEqual([...chosen].sort());
    expect(new Set(chosen).size).toBe(10);
    expect(chosen).not.toEqual(await pick(8));
  });

  test('special tokens come in only when asked for, once for each file', async () => {
    expect(numbers((await load({ files: [first], addSpecialTokens: true }))[0])).toEqual([1, 97, 98, 99]);
  });

  test('masks and positions are added, in the element type of the model', async () => {
    const inputs = [input('input_ids', 'i32'), input('attention_mask', 'f32'), input('token_type_ids'), input('position_ids')];
    const [sample] = await load({ files: [first], inputs });
    expect(sample).toEqual({
      input_ids: { dtype: 'i32', shape: [1, 4], data: Int32Array.of(97, 98, 99, 100) },
      attention_mask: { dtype: 'f32', shape: [1, 4], data: Float32Array.of(1, 1, 1, 1) },
      token_type_ids: { dtype: 'i64', shape: [1, 4], data: BigInt64Array.of(0n, 0n, 0n, 0n) },
      position_ids: { dtype: 'i64', shape: [1, 4], data: BigInt64Array.of(0n, 1n, 2n, 3n) },
    });
  });

  test('a byte order mark is no token', async () => {
    expect(texts(await load({ files: [folder.file('bom.txt', '\ufeffabcd')] }))).toEqual(['abcd']);
  });

  test('no tokenizer', () => refused({ files: [first], tokenizer: null }, 'QC2102', /first\.txt: error QC2102: text needs a tokenizer/));

  test('an id beyond the embedding table', () =>
    refused({ files: [first], vocabulary: 100 }, 'QC2104', /first\.txt: error QC2104: token 100 at position 3: .* has 100, ids 0 to 99/));

  test('fewer windows than asked for', () =>
    refused(
      { files: [first, second], samples: 5 },
      'QC2106',
      /too few samples: 5 needed, 4 found\n.*16 tokens, 4 windows of 4\n.*lower --seq to 3, or lower the number of samples to 4$/,
    ));

  test('the --seq that the error names gives as many samples as are wanted', async () => {
    expect(await load({ files: [first, second], samples: 5, seq: 3 })).toHaveLength(5);
    const lines = folder.file('beside.jsonl', '{"input_ids": [1]}\n{"input_ids": [2]}');
    await refused(
      { files: [second, lines], samples: 5 },
      'QC2106',
      /5 needed, 4 found\n.*\n.*2 lines, one sample each\n.*lower --seq to 3,/,
    );
    expect(await load({ files: [second, lines], samples: 5, seq: 3 })).toHaveLength(5);
  });

  test('no window at all', () =>
    refused({ files: [first], seq: 7 }, 'QC2106', /1 needed, 0 found\n.*6 tokens, less than one window of 7\n.*lower --seq to 6$/));

  test('an input that text cannot give', () =>
    refused({ files: [first], inputs: [...ids, input('pixels', 'f32', ['b', 3])] }, 'QC2103', /lacks input "pixels" .*, f32\[b,3\]/));

  test('a model that takes no tokens', () =>
    refused(
      { files: [first], inputs: [input('x', 'f32')] },
      'QC2110',
      /first\.txt: error QC2110: .*the model has none\n.*x: f32\[batch,seq\]/,
    ));

  test('windows of another length than the model is fixed to', () =>
    refused({ files: [first], inputs: [input('input_ids', 'i64', [1, 8])] }, 'QC2111', /exactly 8 tokens, not of 4\n.*--seq 8/));

  test('text that is not UTF-8', () =>
    refused({ files: [folder.file('latin1.txt', Buffer.from('one\ntwo\ncaf\xe9\n', 'latin1'))] }, 'QC2105', /latin1\.txt:3:1: .* UTF-8/));

  test('a file that is not there', () =>
    refused({ files: ['nowhere/absent.txt'] }, 'QC2109', /nowhere\/absent\.txt: error QC2109: .*ENOENT/));

  test('a file of another kind', () =>
    refused({ files: [folder.file('data.csv', '1,2')] }, 'QC2105', /data\.csv: .*\.txt, \.jsonl or \.npz/));

  test('lengths that are no counts', () => refused({ files: [first], seq: 0 }, 'QC2003', /seq is a positive whole number, found 0/));
});

describe('jsonl', () => {
  const lines = (...rows: readonly (object | string)[]): string =>
    folder.file('rows.jsonl', rows.map((row) => (typeof row === 'string' ? row : JSON.stringify(row))).join('\n'));

  test('each line is a sample, cut to seq and not padded', async () => {
    const first = { input_ids: [5, 6, 7, 8, 9], attention_mask: [1, 1, 0, 1, 1] };
    const file = lines(first, '', { input_ids: [[5, 6]] }, { text: 'xyzzy', url: 'left out' });
    const samples = await load({ files: [file], inputs: idsAndMask });
    expect(samples.map((s) => numbers(s))).toEqual([
      [5, 6, 7, 8],
      [5, 6],
      [120, 121, 122, 122],
    ]);
    expect(samples.map((s) => numbers(s, 'attention_mask'))).toEqual([
      [1, 1, 0, 1],
      [1, 1],
      [1, 1, 1, 1],
    ]);
    expect(samples[1]!['input_ids']!.shape).toEqual([1, 2]);
  });

  test('other inputs come flat or nested', async () => {
    const inputs = [input('x', 'f32', ['b', 2, 2]), input('s', 'f32', [1, 'n'])];
    const file = lines(
      { x: [1, 2, 3, 4], s: [0.5] },
      {
        x: [
          [1, 2],
          [3, 4],
        ],
        s: [1, 2],
      },
      {
        x: [
          [
            [1, 2],
            [3, 4],
          ],
        ],
        s: [[7]],
      },
    );
    const samples = await load({ files: [file], inputs });
    for (const sample of samples) expect(sample['x']).toEqual({ dtype: 'f32', shape: [1, 2, 2], data: Float32Array.of(1, 2, 3, 4) });
    expect(samples.map((s) => s['s']!.shape)).toEqual([
      [1, 1],
      [1, 2],
      [1, 1],
    ]);
  });

  test('text and other files are mixed: windows first', async () => {
    const file = lines({ input_ids: [1] });
    expect((await load({ files: [file, folder.file('a.txt', 'abcd')] })).map((s) => numbers(s).length)).toEqual([4, 1]);
  });

  const bad: readonly (readonly [string, object | string, DiagnosticCode, RegExp])[] = [
    ['a line that is not JSON', '{"input_ids": [1,]}', 'QC2105', /rows\.jsonl:2:\d+: error QC2105: not JSON/],
    ['a line that is a list', '[1, 2]', 'QC2105', /rows\.jsonl:2:1: .*a line is a JSON object/],
    ['ids that are not numbers', { input_ids: ['a'] }, 'QC2105', /"input_ids" is not a list of numbers/],
    ['uneven rows', { input_ids: [[1, 2], [3]] }, 'QC2105', /rows differ in length/],
    [
      'two rows of tokens',
      {
        input_ids: [
          [1, 2],
          [3, 4],
        ],
      },
      'QC2105',
      /found the shape \[2,2\]/,
    ],
    ['no tokens', { input_ids: [] }, 'QC2105', /at least one token/],
    ['text without tokens', { text: '' }, 'QC2105', /no tokens/],
    ['text that is a number', { text: 3 }, 'QC2105', /"text" is a string/],
    ['text and ids', { text: 'a', input_ids: [1] }, 'QC2105', /not both: "input_ids"/],
    [
      'a mask of another length',
      { input_ids: [1, 2], attention_mask: [1] },
      'QC2105',
      /"attention_mask" has 1 numbers for each sequence, "input_ids" needs 2/,
    ],
    ['an unknown input', { input_ids: [1], inputs_ids: [1] }, 'QC2103', /no input "inputs_ids"\n.*of the model: input_ids, attention_mask/],
    ['a missing input', { attention_mask: [1] }, 'QC2103', /lacks input "input_ids"/],
    ['ids that are not whole', { input_ids: [1.5] }, 'QC2103', /"input_ids" is i64 in the model, and its numbers do not fit/],
    ['a negative id', { input_ids: [3, -1] }, 'QC2104', /rows\.jsonl:2:1: .*token -1 at position 1/],
    ['an id beyond the vocabulary', { input_ids: [3, 10] }, 'QC2104', /token 10 at position 1/],
  ];
  test.each(bad)('%s', async (_, row, code, message) => {
    await refused({ files: [lines({ input_ids: [1] }, row)], inputs: idsAndMask, vocabulary: 10 }, code, message);
  });

  test('text in lines needs a tokenizer too', () =>
    refused({ files: [lines({ text: 'a' })], tokenizer: null }, 'QC2102', /rows\.jsonl:1:1/));
});

describe('npz', () => {
  const tokens = BigInt64Array.from({ length: 6 }, (_, i) => BigInt(i));
  const npz = (files: Readonly<Record<string, Uint8Array>>, options = {}): string => folder.file('arrays.npz', zip(files, options));
  const one = (array: Uint8Array): string => npz({ 'input_ids.npy': array });

  test.each([false, true])('the first axis counts the samples (deflated: %s)', async (deflate) => {
    const x = npy('<f4', [2], Float32Array.of(0.5, -Infinity));
    const file = npz({ 'input_ids.npy': npy('<i8', [2, 3], tokens), 'x.npy': x }, { deflate });
    const samples = await load({ files: [file], inputs: [...idsAndMask, input('x', 'f32', ['b'])] });
    expect(samples.map((s) => numbers(s))).toEqual([
      [0, 1, 2],
      [3, 4, 5],
    ]);
    expect(samples[1]!['x']).toEqual({ dtype: 'f32', shape: [1], data: Float32Array.of(-Infinity) });
    expect(numbers(samples[0], 'attention_mask')).toEqual([1, 1, 1]);
  });

  const kinds: readonly (readonly [string, DType, ArrayBufferView])[] = [
    ['<f2', 'f16', Uint16Array.of(0x3c00, 0x4000)],
    ['<f4', 'f32', Float32Array.of(1, 2)],
    ['<f8', 'f64', Float64Array.of(1, 2)],
    ['|i1', 'i8', Int8Array.of(1, 2)],
    ['<i2', 'i16', Int16Array.of(1, 2)],
    ['<i4', 'i32', Int32Array.of(1, 2)],
    ['<i8', 'i64', BigInt64Array.of(1n, 2n)],
    ['|u1', 'u8', Uint8Array.of(1, 2)],
    ['<u2', 'u16', Uint16Array.of(1, 2)],
    ['<u4', 'u32', Uint32Array.of(1, 2)],
    ['<u8', 'u64', BigUint64Array.of(1n, 2n)],
    ['|b1', 'bool', Uint8Array.of(1, 1)],
  ];
  test.each(kinds)('%s', async (descr, dtype, data) => {
    for (const version of [1, 2, 3]) {
      const file = npz({ 'x.npy': npy(descr, [1, 2], data, { version }) });
      const exact = await load({ files: [file], inputs: [input('x', dtype)] });
      expect(exact).toEqual([{ x: { dtype, shape: [1, 2], data } }]);
      const [wide] = await load({ files: [file], inputs: [input('x', 'f64')] });
      expect(numbers(wide, 'x')).toEqual(dtype === 'bool' ? [1, 1] : [1, 2]);
    }
  });

  test('a model with a fixed batch gets samples of that batch', async () => {
    const samples = await load({ files: [one(npy('<i8', [6, 1], tokens))], inputs: [input('input_ids', 'i64', [3, 'seq'])] });
    expect(samples.map((s) => s['input_ids']!.shape)).toEqual([
      [3, 1],
      [3, 1],
    ]);
    expect(samples.map((s) => numbers(s))).toEqual([
      [0, 1, 2],
      [3, 4, 5],
    ]);
  });

  const ok = npy('<i8', [2, 3], tokens);
  const bad: readonly (readonly [string, () => string, DiagnosticCode, RegExp])[] = [
    ['not a zip', () => folder.file('bad.npz', 'plain text'), 'QC2105', /bad\.npz: error QC2105: not a \.npz file that can be read/],
    ['cut short', () => folder.file('bad.npz', zip({ 'input_ids.npy': ok }).slice(0, 90)), 'QC2105', /not a \.npz file/],
    ['missing', () => 'nowhere.npz', 'QC2109', /ENOENT/],
    ['empty', () => npz({}), 'QC2105', /no arrays/],
    ['a wrong checksum', () => npz({ 'input_ids.npy': ok }, { crc: 1 }), 'QC2105', /checksum/],
    ['a file that is no array', () => npz({ 'readme.txt': Buffer.from('hello') }), 'QC2105', /npz#readme\.txt: .*\.npy arrays only/],
    ['bytes that are no .npy', () => one(Buffer.from('hello, world')), 'QC2105', /the bytes are not a \.npy file/],
    ['a future version', () => one(npy('<i8', [2, 3], tokens, { version: 4 })), 'QC2105', /\.npy version 4/],
    ['a header beyond the file', () => one(ok.slice(0, 40)), 'QC2105', /the header ends after the file/],
    ['too little data', () => one(ok.slice(0, -8)), 'QC2105', /<i8 of shape \[2,3\] needs 48 bytes, the file has 40/],
    ['Fortran order', () => one(npy('<i8', [2, 3], tokens, { fortran: true })), 'QC2105', /npz#input_ids: .*ascontiguousarray/],
    ['big endian', () => one(npy('>i8', [2, 3], tokens)), 'QC2105', /element type ">i8"/],
    ['strings', () => one(npy('<U2', [2, 3], tokens)), 'QC2105', /element type "<U2"/],
    ['NaN', () => npz({ 'input_ids.npy': npy('<f4', [1, 2], Float32Array.of(1, NaN)) }), 'QC2105', /element 1 is NaN/],
    ['NaN in halves', () => npz({ 'input_ids.npy': npy('<f2', [1, 2], Uint16Array.of(0x7c00, 0x7e01)) }), 'QC2105', /element 1 is NaN/],
    ['no axis of samples', () => one(npy('<i8', [], tokens.subarray(0, 1))), 'QC2103', /"input_ids" has no axis of samples/],
    ['an unknown name', () => npz({ 'arr_0.npy': ok }), 'QC2103', /no input "arr_0"/],
    ['different counts', () => npz({ 'input_ids.npy': ok, 'attention_mask.npy': npy('<i8', [3, 2], tokens) }), 'QC2103', /: 2\n.*: 3/],
    ['floats for whole numbers', () => one(npy('<f4', [1, 2], Float32Array.of(1, 2))), 'QC2103', /f32\[1,2\] in the data, and its numbers/],
    ['another rank', () => one(npy('<i8', [4], tokens.subarray(0, 4))), 'QC2103', /i64\[batch,seq\] in the model, i64\[1\] in the data/],
    ['an id beyond the vocabulary', () => one(ok), 'QC2104', /arrays\.npz#input_ids: .*token 5 at position 5/],
  ];
  test.each(bad)('%s', async (_, file, code, message) => {
    await refused({ files: [file()], inputs: idsAndMask, vocabulary: 5 }, code, message);
  });

  test('whole numbers that are too wide for the model', () => {
    const file = one(npy('<i8', [1, 1], BigInt64Array.of(2n ** 40n)));
    return refused({ files: [file], inputs: [input('input_ids', 'i32')] }, 'QC2103', /its numbers do not fit/);
  });
});
