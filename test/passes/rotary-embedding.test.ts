import { afterAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { admits, parseGraph, standardize, type ChannelTransform, type Graph } from '../../ir/index.ts';
import { largestDifference, runOnce } from '../../passes/index.ts';
import { recordOf } from '../../passes/operators/index.ts';
import { opsOf, plainExecutor, randomFeed, runPipeline } from '../support/run.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

/** Forms of RotaryEmbedding on 8 channels, and the pairs that turn in each. */
const forms = {
  'two heads': { x: [2, 3, 8], attributes: 'num_heads = 2', pairs: ['02', '13', '46', '57'] },
  'half of one head': { x: [2, 1, 3, 8], attributes: 'num_heads = 1, rotary_embedding_dim = 4', pairs: ['02', '13'] },
  'neighbours in two heads': { x: [2, 3, 8], attributes: 'interleaved = 1, num_heads = 2', pairs: ['01', '23', '45', '67'] },
} as const;
type Form = (typeof forms)[keyof typeof forms];

const encoded = ({ x, attributes }: Form, scale: readonly number[]): Graph =>
  parseGraph(`graph @g(%x: f32[${x.join()}], %c: f32[2,3,2], %s: f32[2,3,2]) {
    %r: f32[${x.join()}] = RotaryEmbedding(%x, %c, %s) {${attributes}}
    %t = qc.Encode(%r) {size = 8, scale = f64[8] [${scale.map((k) => k.toFixed(2)).join()}]}
    %y = Neg(%t)
    return %y }`);

const scaling = (scale: readonly number[]): ChannelTransform =>
  standardize(
    scale.map(() => 0),
    scale.map((k) => 1 / k),
  );
const scales = fc.array(fc.constantFrom(0.5, 1, 2, -4), { minLength: 8, maxLength: 8 });

test.each(Object.entries(forms))('of %s a scale passes exactly where both channels of each pair share it', async (_, form) => {
  const feeds = { x: randomFeed(form.x, 1), c: randomFeed([2, 3, 2], 2), s: randomFeed([2, 3, 2], 3) };
  const shared = (scale: readonly number[]): readonly number[] =>
    scale.map((k, i) => scale[Number(form.pairs.find(([, second]) => Number(second) === i)?.[0] ?? i)] ?? k);
  await fc.assert(
    fc.asyncProperty(scales, fc.boolean(), async (drawn, alike) => {
      const scale = alike ? shared(drawn) : drawn;
      const passes = form.pairs.every(([a, b]) => scale[Number(a)] === scale[Number(b)]);
      const graph = encoded(form, scale);
      const freedom = recordOf(graph.first!).up!.freedom(graph.first!, 8, 0)!;
      expect(admits(freedom, scaling(scale))).toBe(passes);
      const before = await runOnce(executor, graph, feeds);
      await runPipeline(executor, graph, 'fold-channels');
      const identity = scale.every((k) => k === 1);
      expect(opsOf(graph)).toEqual([
        ...(passes && !identity ? ['qc.Encode'] : []),
        'RotaryEmbedding',
        ...(passes ? [] : ['qc.Encode']),
        'Neg',
      ]);
      expect(largestDifference(before, await runOnce(executor, graph, feeds))).toBeLessThan(1e-6);
    }),
    { numRuns: 12, seed: 7 },
  );
});

test('no order and no shift passes, and nothing where the heads are unknown', () => {
  const node = encoded(forms['two heads'], [1, 1, 1, 1, 1, 1, 1, 1]).first!;
  expect(recordOf(node).up!.freedom(node, 8, 0)!.can).toEqual({ perm: false, scale: true, shift: false });
  expect(recordOf(node).up!.freedom(node, 7, 0)).toBeNull();
});
