import { dirname, join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { lowerTo, settleOpset, targetNamed, targets } from '../../codegen/index.ts';
import { RotaryEmbedding } from '../../ir/ops/generated.ts';
import { attentionsOf, isNorm, largestDifference, runOnce, type Feeds } from '../../passes/index.ts';
import { compile } from '../../src/compile.ts';
import { inspect } from '../../src/inspect.ts';
import { openModel, syntheticFeeds } from '../../src/model.ts';
import { scratch } from '../data/arrays.ts';
import { describeFamilies, familyPath } from '../support/families.ts';
import { quantizedIn } from '../support/compiled.ts';
import { plainExecutor, runPipeline } from '../support/run.ts';

const executor = plainExecutor();
const folder = scratch();
afterAll(async () => {
  folder.remove();
  await executor.close();
});

/** Norms of root mean square in real exports. The files of T5 that optimum writes hold an encoder and decoders. */
const norms: Readonly<Record<string, number>> = {
  'llama-ts17': 5,
  'llama-ts17e': 5,
  'llama-dyn18': 5,
  'llama-optimum': 5,
  'qwen2-ts17': 5,
  'qwen2-dyn18': 5,
  'qwen2-optimum': 5,
  'qwen3-ts17': 5,
  'qwen3-dyn18': 9,
  'qwen3-optimum': 9,
  'gemma2-ts17': 5,
  'gemma2-dyn18': 9,
  'gemma2-optimum': 9,
  'gemma3-dyn18': 13,
  'phi3-ts17': 3,
  'phi3-dyn18': 5,
  'phi3-optimum': 3,
  't5-dyn18': 7,
  't5-optimum-encoder_model': 3,
  't5-optimum-decoder_model': 4,
  't5-optimum-decoder_with_past_model': 4,
};

describeFamilies('norms of root mean square', () => {
  test.each(Object.entries(norms))('%s: all are recognised', async (name, count) =>
    expect((await inspect(familyPath(name))).recognised?.norms).toBe(count),
  );
  test.each(['llama-ts17', 'llama-dyn18', 'qwen3-optimum', 'gemma3-dyn18', 'phi3-ts17', 't5-dyn18'])(
    '%s: raising keeps what it computes',
    async (name) => {
      const [before, after] = [openModel(familyPath(name)), openModel(familyPath(name))];
      await runPipeline(executor, after, 'raise');
      expect([...after.nodes].filter(isNorm)).toHaveLength(norms[name]!);
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
  'phi3-optimum': [2, 2],
  'phi2-ts17': [4, 4],
  'phi2-dyn18': [4, 4],
  'neox-ts17': [4, 4],
  'neox-dyn18': [4, 4],
  'falcon-ts17': [4, 4],
  'modernbert-optimum': [4, 4],
};

describeFamilies('rotary embeddings', () => {
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

/** Attentions of real exports, and how many of them have a cache. */
const attentions: Readonly<Record<string, readonly [all: number, cached: number]>> = {
  'bart-optimum-decoder_with_past_model': [2, 1],
  'bert-dyn18': [2, 0],
  'bert-optimum': [2, 0],
  'bert-ts17': [2, 0],
  'bert-ts17e': [2, 0],
  'bloom-dyn18': [1, 0],
  'bloom-optimum': [1, 1],
  'bloom-ts17': [1, 0],
  'deberta-v2-dyn18': [2, 0],
  'distilbert-dyn18': [2, 0],
  'distilbert-optimum': [2, 0],
  'distilbert-ts17': [2, 0],
  'distilbert-ts17e': [2, 0],
  'falcon-dyn18': [2, 0],
  'falcon-optimum': [2, 2],
  'falcon-ts17': [2, 0],
  'falcon-ts17e': [2, 0],
  'gemma2-dyn18': [2, 0],
  'gemma2-optimum': [2, 2],
  'gemma2-ts17': [1, 0],
  'gemma3-dyn18': [2, 0],
  'gpt2-dyn18': [2, 0],
  'gpt2-optimum': [2, 2],
  'gpt2-ts17': [1, 0],
  'gpt2-ts17e': [1, 0],
  'llama-dyn18': [2, 0],
  'llama-optimum': [2, 2],
  'llama-ts17': [2, 0],
  'llama-ts17e': [2, 0],
  'modernbert-dyn18': [2, 0],
  'modernbert-optimum': [2, 0],
  'modernbert-ts17': [2, 0],
  'modernbert-ts17e': [2, 0],
  'neox-dyn18': [2, 0],
  'neox-optimum': [2, 2],
  'neox-ts17': [2, 0],
  'neox-ts17e': [2, 0],
  'opt-dyn18': [2, 0],
  'opt-optimum': [2, 2],
  'phi2-dyn18': [2, 0],
  'phi2-optimum': [2, 2],
  'phi2-ts17': [2, 0],
  'phi2-ts17e': [2, 0],
  'phi3-dyn18': [2, 0],
  'phi3-optimum': [1, 1],
  'phi3-ts17': [1, 0],
  'qwen2-dyn18': [2, 0],
  'qwen2-optimum': [2, 2],
  'qwen2-ts17': [2, 0],
  'qwen2-ts17e': [2, 0],
  'qwen3-dyn18': [2, 0],
  'qwen3-optimum': [2, 2],
  'qwen3-ts17': [1, 0],
  'qwen3-ts17e': [2, 0],
  't5-dyn18': [3, 0],
  't5-optimum-decoder_model': [2, 0],
  't5-optimum-decoder_with_past_model': [2, 1],
  't5-optimum-encoder_model': [1, 0],
  'vit-dyn18': [2, 0],
  'vit-ts17': [2, 0],
  'vit-ts17e': [2, 0],
};

describeFamilies('attentions', () => {
  /** A mask whose first tokens are padding, so that with causal attention they see no key at all. */
  const padded = (feeds: Feeds): Feeds => {
    const mask = feeds['attention_mask'];
    if (mask?.dtype !== 'i64') return feeds;
    return { ...feeds, attention_mask: { ...mask, data: (mask.data as BigInt64Array).map((x, i) => (i < 2 ? 0n : x)) } };
  };
  test.each(Object.entries(attentions))(
    '%s: all are recognised, and raising and lowering keep what it computes',
    async (name, [all, cached]) => {
      const [before, after] = [openModel(familyPath(name)), openModel(familyPath(name))];
      await runPipeline(executor, after, 'raise');
      const found = attentionsOf(after);
      expect([found.length, found.filter((n) => n.input(4) !== null).length]).toEqual([all, cached]);
      expect([...after.nodes].filter((n) => n.op === 'Softmax')).toEqual([]);
      const feeds = padded(syntheticFeeds(before, { sequence: 7, past: 3 }));
      const expected = await runOnce(executor, before, feeds);
      expect(largestDifference(expected, await runOnce(executor, after, feeds))).toBeLessThan(5e-6);
      lowerTo(targetNamed(targets, 'portable'), after);
      settleOpset(after);
      expect([after.opsets.get(''), attentionsOf(after).length]).toEqual([21, 0]);
      expect(largestDifference(expected, await runOnce(executor, after, feeds))).toBeLessThan(5e-6);
    },
  );
  test.each(Object.entries(attentions).filter(([, [, cached]]) => cached > 0))(
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
  test.each(['deberta-v2-ts17', 'deberta-v2-optimum'])('%s: those with relative positions are left, with the reason', async (name) => {
    const { recognised, refused } = await inspect(familyPath(name), { why: true });
    expect(recognised?.attentions).toBe(0);
    expect(refused).toContainEqual(expect.objectContaining({ rule: 'raise-attention', why: expect.stringMatching(/^the softmax feeds/) }));
  });
});

describeFamilies('the frequencies of a rotary embedding', () => {
  test.each([
    ['llama-dyn18', 15],
    ['gemma3-dyn18', 15],
    ['neox-dyn18', 9],
    ['modernbert-dyn18', 8],
  ])('%s: are no linear', async (name, linears) => expect((await inspect(familyPath(name))).recognised?.linears).toBe(linears));
});

describeFamilies('a LLaMA', () => {
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
