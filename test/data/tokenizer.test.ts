import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, expect, test } from '@jest/globals';
import { loadTokenizer } from '../../src/data/tokenizer.ts';
import { scratch } from './arrays.ts';

const folder = scratch();
afterAll(() => folder.remove());

const words = {
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: { type: 'Whitespace' },
  decoder: null,
  post_processor: { type: 'BertProcessing', sep: ['[SEP]', 1], cls: ['[CLS]', 0] },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab: { '[CLS]': 0, '[SEP]': 1, '[UNK]': 2, a: 3, b: 4 },
  },
};

test('special tokens are added only when asked for', async () => {
  const tokenizer = await loadTokenizer(folder.file('tokenizer.json', JSON.stringify(words)));
  expect(tokenizer.encode('a b c', { addSpecialTokens: false })).toEqual([3, 4, 2]);
  expect(tokenizer.encode('a b', { addSpecialTokens: true })).toEqual([0, 3, 4, 1]);
});

test('a part of the text without an id is refused', async () => {
  const { '[UNK]': _, ...vocab } = words.model.vocab;
  const tokenizer = await loadTokenizer(folder.file('tokenizer.json', JSON.stringify({ ...words, model: { ...words.model, vocab } })));
  expect(() => tokenizer.encode('a c', { addSpecialTokens: false })).toThrow(expect.objectContaining({ code: 'QC2104' }));
});

test.each([
  ['QC2109', () => 'nowhere/tokenizer.json'],
  ['QC2105', () => folder.file('text.json', 'not json')],
  ['QC2105', () => folder.file('list.json', '3')],
  ['QC2105', () => folder.file('other.json', '{"model_type": "opt"}')],
  ['QC2105', () => folder.file('kind.json', JSON.stringify({ ...words, pre_tokenizer: { type: 'Nonsense' } }))],
])('a bad tokenizer file: %s', async (code, path) => {
  await expect(loadTokenizer(path())).rejects.toMatchObject({ code });
});

const model = '../shared/models/opt-mini';

// Counts and digests of the ids that tokenizers 0.23.3 (Python) gives for the whole files.
(existsSync(model) ? test : test.skip).each([
  ['calib.txt', 46667, '4c640cae1164701c06447932396d7f000ade1a51e07c53b3d28c2e54a718100a'],
  ['heldout.txt', 86372, '150dd2909dbb93955bd909f9673408a1eeb3beb26237709cc916c92a2638bd99'],
])(`long text has the ids of the reference tokenizer: %s (skipped without ${model})`, async (name, count, digest) => {
  const tokenizer = await loadTokenizer(`${model}/tokenizer.json`);
  const ids = tokenizer.encode(readFileSync(`${model}/${name}`, 'utf8'), { addSpecialTokens: false });
  expect(ids.length).toBe(count);
  expect(createHash('sha256').update(Int32Array.from(ids)).digest('hex')).toBe(digest);
});
