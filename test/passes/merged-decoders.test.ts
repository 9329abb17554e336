import { afterAll, describe, expect, test } from '@jest/globals';
import { lowerTo, settleOpset, targetNamed, targets } from '../../codegen/index.ts';
import { verify } from '../../ir/index.ts';
import type { Graph } from '../../ir/index.ts';
import { sizeOf } from '../../ir/types.ts';
import { attentionsOf, cachesOf, isNorm, largestDifference, linearsOf, type Feeds, type HostTensor } from '../../passes/index.ts';
import { openModel, syntheticFeeds } from '../../src/model.ts';
import { families, familyPath, heldBy } from '../support/families.ts';
import { plainExecutor, randomFeed, runPipeline } from '../support/run.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

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
