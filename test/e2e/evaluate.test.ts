import { afterAll, expect, test } from '@jest/globals';
import { blocks as blocksOf } from '../../passes/index.ts';
import { openModel } from '../../src/model.ts';
import { compile, evaluate, type Evaluation } from '../../src/index.ts';
import { scratch } from '../data/arrays.ts';

const folder = scratch();
afterAll(() => folder.remove());
const float = 'test/fixtures/exported/opt-tiny-op13.onnx';
const seq = 4;
const least = 50_000;
// More windows than go through the blocks at a time.
const rows = Array.from({ length: 131 }, (_, i) => Array.from({ length: seq }, (_, j) => (i * 37 + j * 11 + 5) % 384));
const data = { files: [folder.file('ids.jsonl', rows.map((input_ids) => JSON.stringify({ input_ids })).join('\n'))], seq };

/** Figures as near as sums in another order are. */
const near = (a: number, b: number): void => expect(Math.abs(a - b)).toBeLessThanOrEqual(1e-5 * Math.max(1, Math.abs(b)));

test('a model that runs block by block has the figures that it has as a whole, alone and against the float model', async () => {
  const model = folder.file('quantized.onnx', '');
  await compile({
    model: float,
    output: model,
    passes: 'rptq',
    scheme: 'w8a8',
    target: 'portable',
    data: { ...data, samples: 4 },
    threads: 1,
  });
  for (const path of [float, model]) expect(blocksOf(openModel(path), least).length).toBeGreaterThan(1);
  const seen: number[] = [];
  const found = async (blockBytes?: number): Promise<Evaluation> => {
    seen.length = 0;
    return evaluate({
      model,
      data,
      against: float,
      threads: 1,
      blockBytes,
      onProgress: (done, all, what) => what === 'windows' && seen.push(done, all),
    });
  };
  const [whole, blocks] = [await found(), await found(least)];
  expect(seen.filter((_, i) => i % 2 === 0)).toEqual(rows.map((_, i) => i + 1));
  expect([blocks.windows, blocks.tokens]).toEqual([131, 131 * (seq - 1)]);
  expect(blocks.tokens).toBe(whole.tokens);
  near(blocks.perplexity!, whole.perplexity!);
  near(blocks.against!.perplexity!, whole.against!.perplexity!);
  near(blocks.against!.kl!, whole.against!.kl!);
  expect(whole.against!.kl).toBeGreaterThan(1e-4);
  expect(blocks.against!.sites.map((s) => s.name)).toEqual(whole.against!.sites.map((s) => s.name));
});
