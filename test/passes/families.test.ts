import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { lowerTo, settleOpset, targetNamed, targets } from '../../codegen/index.ts';
import { RotaryEmbedding } from '../../ir/ops/generated.ts';
import { attentionsOf, isNorm, largestDifference, runOnce, type Feeds } from '../../passes/index.ts';
import { compile } from '../../src/compile.ts';
import { inspect } from '../../src/inspect.ts';
import { openModel, syntheticFeeds } from '../../src/model.ts';
import { scratch } from '../data/arrays.ts';
import { familyPath, heldBy } from '../support/families.ts';
import { quantizedIn } from '../support/compiled.ts';
import { plainExecutor, runPipeline } from '../support/run.ts';

const executor = plainExecutor();
const folder = scratch();
afterAll(async () => {
  folder.remove();
  await executor.close();
});

/** Models with norms of root mean square. */
const norms = [
  'llama-ts17',
  'llama-ts17e',
  'llama-dyn18',
  'llama-optimum',
  'qwen2-ts17',
  'qwen2-dyn18',
  'qwen2-optimum',
  'qwen3-ts17',
  'qwen3-dyn18',
  'qwen3-optimum',
  'gemma2-ts17',
  'gemma2-dyn18',
  'gemma2-optimum',
  'gemma3-dyn18',
  'phi3-ts17',
  'phi3-dyn18',
  'phi3-optimum',
  't5-dyn18',
  't5-optimum-encoder_model',
  't5-optimum-decoder_model',
  't5-optimum-decoder_with_past_model',
];

describe('norms of root mean square', () => {
  test.each(norms)('%s: all are recognised', async (name) =>
    expect((await inspect(familyPath(name))).recognised?.norms).toBe(heldBy(name).norms),
  );
  test.each(['llama-ts17', 'llama-dyn18', 'qwen3-optimum', 'gemma3-dyn18', 'phi3-ts17', 't5-dyn18'])(
    '%s: raising keeps what it computes',
    async (name) => {
      const [before, after] = [openModel(familyPath(name)), openModel(familyPath(name))];
      await runPipeline(executor, after, 'raise');
      expect([...after.nodes].filter(isNorm)).toHaveLength(heldBy(name).norms);
      const feeds = syntheticFeeds(before, { sequence: 7, past: 3 });
      expect(largestDifference(await runOnce(executor, before, feeds), await runOnce(executor, after, feeds))).toBeLessThan(5e-6);
    },
  );
});

/** Rotary embeddings, and how many of them stand in front of the split into heads. */
const rotary: Readonly<Record<string, readonly [all: number, ofTokens: number]>> = {
  'llama-ts17': [4, 4],
  'llama-dyn18': [4, 4],
  'llama-optimum': [4, 4],
  'qwen2-ts17e': [4, 4],
  'qwen3-optimum': [4, 4],
  'gemma2-optimum': [4, 4],
  'gemma3-dyn18': [4, 4],
  'phi3-optimum': [4, 4],
  'phi2-ts17': [4, 4],
  'phi2-dyn18': [4, 4],
  'neox-ts17': [4, 4],
  'neox-dyn18': [4, 4],
  'falcon-ts17': [4, 4],
  'modernbert-optimum': [4, 4],
};

describe('rotary embeddings', () => {
  test.each(Object.entries(rotary))('%s: all are recognised, and raising keeps what it computes', async (name, [all, ofTokens]) => {
    const [before, after] = [openModel(familyPath(name)), openModel(familyPath(name))];
    await runPipeline(executor, after, 'raise');
    const found = [...after.nodes].filter((n) => n.op === RotaryEmbedding.schema.op);
    expect([found.length, found.filter((n) => n.output.type?.shape?.length === 3).length]).toEqual([all, ofTokens]);
    const feeds = syntheticFeeds(before, { sequence: 7, past: 3 });
    expect(largestDifference(await runOnce(executor, before, feeds), await runOnce(executor, after, feeds))).toBeLessThan(5e-6);
    lowerTo(targetNamed(targets, 'portable'), after);
    settleOpset(after);
    expect(after.opsets.get('')).toBe(21);
    expect(largestDifference(await runOnce(executor, before, feeds), await runOnce(executor, after, feeds))).toBeLessThan(5e-6);
  });
});

/** Models of standard operators. */
const attentions = [
  'bart-optimum-decoder_with_past_model',
  'bert-dyn18',
  'bert-optimum',
  'bert-ts17',
  'bert-ts17e',
  'bloom-dyn18',
  'bloom-optimum',
  'bloom-ts17',
  'deberta-v2-dyn18',
  'deberta-v2-optimum',
  'deberta-v2-ts17',
  'distilbert-dyn18',
  'distilbert-optimum',
  'distilbert-ts17',
  'distilbert-ts17e',
  'falcon-dyn18',
  'falcon-optimum',
  'falcon-ts17',
  'falcon-ts17e',
  'gemma2-dyn18',
  'gemma2-optimum',
  'gemma2-ts17',
  'gemma3-dyn18',
  'gpt2-dyn18',
  'gpt2-optimum',
  'gpt2-ts17',
  'gpt2-ts17e',
  'llama-dyn18',
  'llama-optimum',
  'llama-ortext',
  'llama-ts17',
  'llama-ts17e',
  'modernbert-dyn18',
  'modernbert-optimum',
  'modernbert-ts17',
  'modernbert-ts17e',
  'neox-dyn18',
  'neox-optimum',
  'neox-ts17',
  'neox-ts17e',
  'opt-dyn18',
  'opt-optimum',
  'phi2-dyn18',
  'phi2-optimum',
  'phi2-ts17',
  'phi2-ts17e',
  'phi3-dyn18',
  'phi3-optimum',
  'phi3-ts17',
  'qwen2-dyn18',
  'qwen2-optimum',
  'qwen2-ts17',
  'qwen2-ts17e',
  'qwen3-dyn18',
  'qwen3-optimum',
  'qwen3-ortext',
  'qwen3-ts17',
  'qwen3-ts17e',
  't5-dyn18',
  't5-optimum-decoder_model',
  't5-optimum-decoder_with_past_model',
  't5-optimum-encoder_model',
  'vit-dyn18',
  'vit-ts17',
  'vit-ts17e',
];

/** Attentions with a cache: those to the encoder read what it gave, and append nothing. */
const cachedIn = (name: string): number => heldBy(name).caches / (name.includes('decoder') ? 2 : 1);

describe('attentions', () => {
  /** A mask whose first tokens are padding, so that with causal attention they see no key at all. */
  const padded = (feeds: Feeds): Feeds => {
    const mask = feeds['attention_mask'];
    if (mask?.dtype !== 'i64') return feeds;
    return { ...feeds, attention_mask: { ...mask, data: (mask.data as BigInt64Array).map((x, i) => (i < 2 ? 0n : x)) } };
  };
  test.each(attentions)('%s: all are recognised, and raising and lowering keep what it computes', async (name) => {
    const [before, after] = [openModel(familyPath(name)), openModel(familyPath(name))];
    await runPipeline(executor, after, 'raise');
    const found = attentionsOf(after);
    expect([found.length, found.filter((n) => n.input(4) !== null).length]).toEqual([heldBy(name).attentions, cachedIn(name)]);
    expect([...after.nodes].filter((n) => n.op === 'Softmax')).toEqual([]);
    const feeds = padded(syntheticFeeds(before, { sequence: 7, past: 3 }));
    const expected = await runOnce(executor, before, feeds);
    expect(largestDifference(expected, await runOnce(executor, after, feeds))).toBeLessThan(5e-6);
    lowerTo(targetNamed(targets, 'portable'), after);
    settleOpset(after);
    expect([after.opsets.get(''), attentionsOf(after).length]).toEqual([21, 0]);
    expect(largestDifference(expected, await runOnce(executor, after, feeds))).toBeLessThan(5e-6);
  });
  test.each(attentions.filter((name) => cachedIn(name) > 0))(
    '%s: so they are from an empty cache on, one token at a time',
    async (name) => {
      const [before, after] = [openModel(familyPath(name)), openModel(familyPath(name))];
      await runPipeline(executor, after, 'raise');
      lowerTo(targetNamed(targets, 'portable'), after);
      settleOpset(after);
      for (const past of [0, 1, 6]) {
        const feeds = syntheticFeeds(before, { sequence: 1, past });
        const expected = await runOnce(executor, before, feeds);
        expect(largestDifference(expected, await runOnce(executor, after, feeds))).toBeLessThan(5e-6);
      }
    },
  );
  test('vit-optimum: all are recognised', async () => expect((await inspect(familyPath('vit-optimum'))).recognised?.attentions).toBe(2));
  test.each(['deberta-v2-ortext', 'deberta-v2-ortopt', 't5-ortopt'])(
    '%s: all are recognised behind operators of ONNX Runtime',
    async (name) => expect((await inspect(familyPath(name))).recognised?.attentions).toBe(heldBy(name).attentions),
  );
});

describe('the frequencies of a rotary embedding', () => {
  test.each([
    ['llama-dyn18', 15],
    ['gemma3-dyn18', 15],
    ['neox-dyn18', 9],
    ['modernbert-dyn18', 8],
  ])('%s: are no linear', async (name, linears) => expect((await inspect(familyPath(name))).recognised?.linears).toBe(linears));
});

describe('a LLaMA', () => {
  const rows = Array.from({ length: 4 }, (_, i) => {
    const ids = Array.from({ length: 12 }, (_, j) => 2 + ((i * 37 + j * 11) % 38));
    return JSON.stringify({ input_ids: ids, attention_mask: ids.map(() => 1) });
  });
  const tokens = folder.file('tokens.jsonl', rows.join('\n'));
  /** What the ledger says of norms in front of linears; the last one feeds the head, which stays in float. */
  const said = {
    portable: /^took scale$/,
    'ort-cpu': /^took scale$/,
    'ort-cuda': /^took scale$/,
    'qc-cpu': /^took scale; one kernel with (residual sum, )?reorder, quantization$/,
  };
  test.each(Object.entries(said))('for %s: os+ scales all norms, and all linears are quantized', async (target, expected) => {
    const report = await compile({
      model: familyPath('llama-ts17'),
      output: join(dirname(tokens), `${target}.onnx`),
      passes: 'rptq,os+{threshold=2}',
      target,
      data: { files: [tokens], samples: 4 },
      threads: 1,
    });
    const entries = report.ledger.filter((e) => e.kind === 'norm').map((e) => e.done.join('; '));
    expect(entries.slice(0, 4)).toEqual(Array.from({ length: 4 }, () => expect.stringMatching(expected)));
    expect(quantizedIn(report)).toBe(14);
    expect(report.left).toMatchObject({ muls: 0, adds: 0 });
  });
});
