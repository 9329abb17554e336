import { afterAll, describe, expect, test } from '@jest/globals';
import { lowerTo, settleOpset, targetNamed, targets } from '../../codegen/index.ts';
import { cloneGraph, parseGraph, type Graph } from '../../ir/index.ts';
import { isNorm, largestDifference, runOnce, type Feeds } from '../../passes/index.ts';
import { refusalText } from '../../passes/infra/ledger.ts';
import { openModel, syntheticFeeds } from '../../src/model.ts';
import { describeFamilies, familyPath, fusedFamilies, heldBy } from '../support/families.ts';
import { fusedForms, openForm } from '../support/fused-forms.ts';
import { opsOf, plainExecutor, runPipeline } from '../support/run.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

const isFused = (op: string): boolean => op.startsWith('com.microsoft.') || op === 'SimplifiedLayerNormalization';

/** Whether `after`, and what it becomes for targets, gives what `before` gives. */
async function expectSame(before: Graph, after: Graph, feeds: Feeds): Promise<void> {
  const expected = await runOnce(executor, before, feeds);
  expect(largestDifference(expected, await runOnce(executor, after, feeds))).toBeLessThan(1e-5);
  for (const name of ['portable', 'ort-cpu']) {
    const lowered = cloneGraph(after);
    lowerTo(targetNamed(targets, name), lowered);
    settleOpset(lowered);
    expect(largestDifference(expected, await runOnce(executor, lowered, feeds))).toBeLessThan(1e-5);
  }
}

describe('operators of ONNX Runtime', () => {
  const forms = fusedForms.filter(({ name }) => !name.includes('Attention'));
  test.each(forms.map((form) => [form.name, form] as const))('%s: in words of ONNX, with the same results', async (_, form) => {
    const [before, after] = [openForm(form), openForm(form)];
    await runPipeline(executor, after, 'raise');
    expect(opsOf(after).filter(isFused)).toEqual([]);
    await expectSame(before, after, form.feeds);
  });
});

describe('operators of ONNX Runtime that stay, and why', () => {
  const refusals: Readonly<Record<string, readonly [text: string, why: string]>> = {
    'a norm whose deviation is read': [
      '%y, _, %d = com.microsoft.SkipLayerNormalization(%x, %x, %g)',
      'its mean or deviation is read, at %d',
    ],
    'a simplified norm whose deviation is read': ['%y, %d = SimplifiedLayerNormalization(%x, %g)', 'its mean or deviation is read, at %d'],
    'a product with an activation that has numbers of its own': [
      '%y = com.microsoft.FusedGemm(%m, %w) {activation = "Elu"} %d = Neg(%y)',
      'its activation is Elu, at %y',
    ],
    'a product of an unknown value': [
      '%u = custom.Unknown(%x) %y = com.microsoft.FusedMatMul(%u, %x) %d = Neg(%y)',
      'the axes of an operand are unknown, at %u',
    ],
    'a rotation that scales': [
      '%y = com.microsoft.RotaryEmbedding(%x, %at, %w, %w) {num_heads = 2, scale = 0.5} %d = Neg(%y)',
      'it scales by 0.5, at %x',
    ],
    'a rotation of sequences that lie one behind the other': [
      '%y = com.microsoft.RotaryEmbedding(%x, %at, %w, %w) {num_heads = 2, is_packed_batching = 1} %d = Neg(%y)',
      'its sequences lie one behind the other, at %x',
    ],
    'a rotation of unknown heads': [
      '%y = com.microsoft.RotaryEmbedding(%x, %at, %x, %x) %d = Neg(%y)',
      'the number of heads is unknown, at %x',
    ],
  };
  test.each(Object.entries(refusals))('%s', async (_, [text, why]) => {
    const graph = parseGraph(`graph @g(%x: f32[B,S,8], %m: f32[N,8], %at: i64[B,S]) {
      const %g: f32[8] = random 1
      const %w: f32[8,4] = random 2
      ${text}
      return %y, %d
    }`);
    const { ledger } = await runPipeline(executor, graph, 'raise');
    expect(opsOf(graph).filter(isFused)).toHaveLength(1);
    expect(ledger.refused.map(refusalText)).toEqual([why]);
  });
});

describeFamilies('models with operators of ONNX Runtime', () => {
  test.each(fusedFamilies)('%s: all norms are recognised, and raising keeps what it computes', async (name) => {
    const [before, after] = [openModel(familyPath(name)), openModel(familyPath(name))];
    await runPipeline(executor, after, 'raise');
    expect([...after.nodes].filter(isNorm)).toHaveLength(heldBy(name).norm);
    await expectSame(before, after, syntheticFeeds(before, { sequence: 7, past: 3 }));
  });
});
