import { afterAll, describe, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { compile, evaluate, generate, type GenerateOptions } from '../../src/index.ts';
import { inspect } from '../../src/inspect.ts';
import { fit } from '../../src/data/fit.ts';
import { modelInputs } from '../../src/data/inputs.ts';
import { inputsOf, lookInto } from '../../src/model.ts';
import { unknownLocation } from '../../ir/diagnostics.ts';
import { scratch } from '../data/arrays.ts';
import { familyPath } from '../support/families.ts';
import { elements, fusingExecutor, i64 } from '../support/run.ts';

const folder = scratch();
const executor = fusingExecutor();
afterAll(async () => {
  folder.remove();
  await executor.close();
});
const opt = 'test/fixtures/exported/opt-tiny-op13.onnx';
const prompt = [3, 4, 5, 17];
const generated = (model: string, more: Partial<GenerateOptions> = {}) => generate({ model, prompt, tokens: 6, threads: 1, ...more });

/** The likeliest tokens one after another, where the model reads the whole sequence each time. */
async function byWholeSequences(path: string, count: number, start: readonly number[] = prompt): Promise<readonly number[]> {
  const inputs = modelInputs(inputsOf(lookInto(path)));
  const program = await executor.openFile(path);
  const sequence = [...start];
  for (let k = 0; k < count; k++) {
    const outputs = await program.run(fit({ input_ids: i64([1, sequence.length], sequence) }, inputs, unknownLocation));
    const row = elements(outputs, 'logits').slice(-outputs['logits']!.shape.at(-1)!);
    sequence.push(row.indexOf(Math.max(...row)));
  }
  await program.close();
  return sequence.slice(start.length);
}

test('a model without caches reads the whole sequence again for each token', async () => {
  const found = await generated(opt);
  expect(found).toMatchObject({ prompt, tokens: await byWholeSequences(opt, 6), text: null, ended: 'tokens', caches: 0, kernels: null });
  expect([found.prefill.tokens, found.decode.tokens]).toEqual([4, 5]);
  expect(found.decode.tokensPerSecond).toBeCloseTo((1000 * 5) / found.decode.milliseconds, 6);
});

describe('caches go from step to step', () => {
  const seen = new Set<number>();
  test.each(['opt-optimum', 'gpt2-optimum', 'bloom-optimum', 'llama-optimum', 'qwen3-optimum', 'falcon-optimum'])(
    '%s: the tokens are those of reading the whole sequence',
    async (name) => {
      for (const start of [prompt, [7, 30, 9]]) {
        const { tokens, caches } = await generated(familyPath(name), { prompt: start });
        expect(caches).toBe(lookInto(familyPath(name)).inputs.filter((v) => v.name.startsWith('past')).length);
        expect(tokens).toEqual(await byWholeSequences(familyPath(name), 6, start));
        tokens.forEach((id) => seen.add(id));
      }
    },
  );
  test('and they are not all the same', () => expect(seen.size).toBeGreaterThan(5));
  test('a compiled model has its caches too', async () => {
    const output = folder.file('compiled.onnx', '');
    const lines = Array.from({ length: 4 }, (_, s) =>
      JSON.stringify({ input_ids: Array.from({ length: 12 }, (_, i) => 3 + ((s * 31 + i * 7) % 30)) }),
    );
    const data = { files: [folder.file('ids.jsonl', lines.join('\n'))], samples: 4 };
    await compile({ model: familyPath('opt-optimum'), output, passes: 'rptq,os+', scheme: 'w8a8', target: 'portable', data, threads: 1 });
    const found = await generated(output);
    expect(found.caches).toBe(4);
    expect(found.tokens).toEqual(await byWholeSequences(output, 6));
  });
  describe('where keys and values are quantized', () => {
    const compiled = (name: string, output: string, keepCaches: boolean) => {
      const lines = [0, 1].map((s) => JSON.stringify({ input_ids: Array.from({ length: 12 }, (_, i) => 3 + ((s * 31 + i * 7) % 30)) }));
      const data = { files: [folder.file('ids.jsonl', lines.join('\n'))], samples: 2 };
      const options = { passes: 'rptq', scheme: 'rptq-w4a8', target: 'qc-cpu', data, threads: 1, keepCaches };
      return compile({ model: familyPath(name), output, ...options });
    };
    test.each(['opt-optimum', 'llama-genai'])(
      '%s has its caches in another basis, says so, and goes on as from whole sequences',
      async (name) => {
        const output = folder.file('moved.onnx', '');
        const report = await compiled(name, output, false);
        expect(report.pipeline).toMatch(/,open-caches,.*,close-caches,/);
        const said = report.ledger.filter(({ done }) => done.includes('its caches lie in another basis'));
        expect(said.map(({ kind }) => kind)).toEqual(['attention', 'attention']);
        const ends = [0, 1].flatMap((i) => ['key', 'value'].map((kind) => `${i}.${kind}`));
        const { movedCaches } = await inspect(output);
        expect(movedCaches).toEqual(ends.map((end) => ({ past: `past_key_values.${end}`, present: `present.${end}` })));
        expect((await generated(output)).tokens).toEqual(await byWholeSequences(output, 6));
      },
    );
    test('caches stay as they are where another model fills or reads them', async () => {
      const output = folder.file('kept.onnx', '');
      const report = await compiled('opt-optimum', output, true);
      expect(report.pipeline).not.toMatch(/caches/);
      const messages = report.diagnostics.map(({ message }) => message);
      expect(messages).toContainEqual(expect.stringMatching(/not reordered: Attention .* cannot take an order/));
      expect((await inspect(output)).movedCaches).toEqual([]);
    });
  });
  test('tokens in a cache that lies in another basis are refused as data', async () => {
    const output = folder.file('filled.onnx', '');
    const ids = { input_ids: [3, 4, 5, 6, 7, 8] };
    const caches = (tokens: number) =>
      Object.fromEntries([0, 1].flatMap((i) => ['key', 'value'].map((kind) => [`past_key_values.${i}.${kind}`, [heads(tokens)]] as const)));
    const heads = (tokens: number) =>
      Array.from({ length: 4 }, () => Array.from({ length: tokens }, () => new Array<number>(16).fill(0.5)));
    const file = (name: string, line: object): string => folder.file(name, JSON.stringify(line));
    const data = { files: [file('empty.jsonl', ids)], samples: 1 };
    await compile({ model: familyPath('opt-optimum'), output, passes: 'rptq', scheme: 'rptq-w4a8', target: 'portable', data, threads: 1 });
    const filled = { files: [file('filled.jsonl', { ...ids, attention_mask: new Array(9).fill(1), ...caches(3) })] };
    await expect(evaluate({ model: output, data: filled })).rejects.toMatchObject({
      code: 'QC2103',
      message: expect.stringContaining('a cache that lies in another basis in this model'),
    });
  });
});

describe('the end', () => {
  test('comes with a token that ends sequences, or with the last position', async () => {
    const { tokens } = await generated(opt);
    const stop = [tokens[2]!];
    const stopped = await generated(opt, { stop });
    expect(stopped).toMatchObject({ tokens: tokens.slice(0, tokens.indexOf(stop[0]!) + 1), ended: 'stop' });
    const long = await generated(opt, { prompt: Array.from({ length: 60 }, (_, i) => i + 3), tokens: 20 });
    expect(long).toMatchObject({ ended: 'positions', tokens: { length: 5 } });
  });
});

test.each([
  ['QC2111', opt, { prompt: new Array<number>(65).fill(3) }],
  ['QC2104', opt, { prompt: [100_000] }],
  ['QC2106', opt, { prompt: [] }],
  ['QC2102', opt, { prompt: 'text' }],
  ['QC2003', opt, { tokens: 0 }],
  ['QC2103', 'test/fixtures/exported/bert-tiny-op17.onnx', {}],
] as const)('%s for %s', async (code, model, more) => {
  await expect(generated(model, more)).rejects.toMatchObject({ code });
});

test('text is made of tokens, and tokens of text', async () => {
  const demo = 'examples/demo';
  const tokenizer = join(demo, 'tokenizer.json');
  const found = await generated(join(demo, 'model.onnx'), { prompt: 'the', tokenizer, tokens: 8 });
  expect(found.prompt.length).toBeGreaterThan(0);
  expect(found.text).toMatch(/[a-z]{2}/);
});
