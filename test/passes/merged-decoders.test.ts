import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { lowerTo, settleOpset, targetNamed, targets } from '../../codegen/index.ts';
import { verify } from '../../ir/index.ts';
import type { Graph } from '../../ir/index.ts';
import { sizeOf } from '../../ir/types.ts';
import { attentionsOf, cachesOf, isNorm, largestDifference, linearsOf, type Feeds, type HostTensor } from '../../passes/index.ts';
import { compile } from '../../src/compile.ts';
import { openModel, syntheticFeeds } from '../../src/model.ts';
import { scratch } from '../data/arrays.ts';
import { quantizedIn } from '../support/compiled.ts';
import { families, familyPath, heldBy } from '../support/families.ts';
import { cosine, elements, plainExecutor, randomFeed, runPipeline } from '../support/run.ts';

const executor = plainExecutor();
const folder = scratch();
afterAll(async () => {
  folder.remove();
  await executor.close();
});

/** Those of encoders and decoders: caches of the encoder's keys are made by one branch, and read by the other one. */
const merged = families.filter((name) => name.endsWith('_merged'));

/** Inputs of one step: with a cache of `past` tokens, or without one, for which the convention is a dummy of `dummy` tokens. */
function step(
  graph: Graph,
  { tokens, past, dummy = 0 }: { readonly tokens: number; readonly past: number; readonly dummy?: number },
): Feeds {
  const uses = past > 0;
  const feeds = syntheticFeeds(graph, { sequence: tokens, past: uses ? past : dummy });
  const fed = ([name, t]: [string, HostTensor]): [string, HostTensor] => {
    if (name === 'use_cache_branch') return [name, { dtype: 'bool', shape: t.shape, data: Uint8Array.of(Number(uses)) }];
    if (!name.startsWith('past_key_values')) return [name, t];
    const shape = t.shape.map((d, axis) => (axis === 2 ? (uses && name.includes('encoder') ? tokens : uses ? past : dummy) : d));
    return [name, { ...randomFeed(shape, sizeOf(shape)) }];
  };
  return Object.fromEntries(Object.entries(feeds).map(fed));
}

const steps = [
  { tokens: 7, past: 0 },
  { tokens: 7, past: 0, dummy: 1 },
  { tokens: 1, past: 0, dummy: 5 },
  { tokens: 1, past: 1 },
  { tokens: 1, past: 6 },
  { tokens: 4, past: 3 },
];

const shapesOf = (feeds: Feeds): unknown => Object.fromEntries(Object.entries(feeds).map(([name, t]) => [name, t.shape]));

async function expectEqual(before: Graph, after: Graph): Promise<void> {
  const [one, other] = [await executor.load(before), await executor.load(after)];
  for (const lengths of steps) {
    const feeds = step(before, lengths);
    const [wanted, found] = [await one.run(feeds), await other.run(feeds)];
    expect([lengths, shapesOf(found)]).toEqual([lengths, shapesOf(wanted)]);
    expect(largestDifference(wanted, found)).toBeLessThan(5e-6);
  }
  await one.close();
  await other.close();
}

describe('merged decoders', () => {
  test('are among the fixtures', () => expect(merged.length).toBeGreaterThanOrEqual(4));
  test.each(merged)('%s: both branches are one decoder, which computes what each of them did', async (name) => {
    const [before, after] = [openModel(familyPath(name)), openModel(familyPath(name))];
    await runPipeline(executor, after, 'raise');
    verify(after);
    const { linears, norms, attentions } = heldBy(name);
    expect([linearsOf(after).length, [...after.nodes].filter(isNorm).length]).toEqual([linears, norms]);
    expect([attentionsOf(after).length, cachesOf(after).length]).toEqual([attentions, attentions]);
    await expectEqual(before, after);
    lowerTo(targetNamed(targets, 'portable'), after);
    settleOpset(after);
    await expectEqual(before, after);
  });
});

describe('a merged decoder that is compiled', () => {
  const path = familyPath('whisper-optimum-decoder_model_merged');
  /** Samples of a step without a cache, and of one with a cache, in which nothing comes from the encoder. */
  const calibration = (graph: Graph): string =>
    [steps[0]!, steps[3]!, steps[5]!].map((lengths) => JSON.stringify(listed(step(graph, lengths)))).join('\n');

  test.each(['ort-cpu', 'portable'])('for %s: both uses are quantized, and nothing is left in float', async (target) => {
    const float = openModel(path);
    const data = folder.file('merged.jsonl', calibration(float));
    const output = join(dirname(data), `${target}.onnx`);
    const report = await compile({
      model: path,
      output,
      passes: 'rptq,os+{threshold=2}',
      target,
      data: { files: [data], samples: 3 },
      threads: 1,
    });
    expect(report.diagnostics.map((d) => d.code)).not.toContain('QC3302');
    // The head stays in float.
    expect(quantizedIn(report)).toBe(heldBy('whisper-optimum-decoder_model_merged').linears - 1);
    const [wanted, found] = [await executor.openFile(path), await executor.openFile(output)];
    for (const lengths of steps) {
      const [x, y] = [await wanted.run(step(float, lengths)), await found.run(step(float, lengths))];
      expect([lengths, shapesOf(y)]).toEqual([lengths, shapesOf(x)]);
      expect(cosine(elements(x, 'logits'), elements(y, 'logits'))).toBeGreaterThan(0.99);
      expect(elements(y, 'logits')).not.toEqual(elements(x, 'logits'));
    }
  });
});

/** As a line of JSON gives them; empty caches are implied. */
const listed = (feeds: Feeds): unknown =>
  Object.fromEntries(
    Object.entries(feeds).flatMap(([name, t]) => (sizeOf(t.shape) === 0 ? [] : [[name, nested(Array.from(t.data, Number), t.shape)]])),
  );

function nested(flat: readonly number[], [first = 1, ...rest]: readonly number[]): unknown {
  if (rest.length === 0) return flat;
  const size = flat.length / first;
  return Array.from({ length: first }, (_, i) => nested(flat.slice(i * size, (i + 1) * size), rest));
}
