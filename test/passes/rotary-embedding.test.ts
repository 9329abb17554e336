import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { admits, parseGraph, permutation, standardize, type ChannelTransform, type Graph } from '../../ir/index.ts';
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

/** Orders of 8 channels: those of whole pairs, alike in all heads, and others. */
const orders: Readonly<Record<keyof typeof forms, { readonly whole: readonly string[]; readonly others: readonly string[] }>> = {
  'two heads': { whole: ['10325476'], others: ['10324567', '23016745', '10235467', '01235476'] },
  'half of one head': { whole: ['10324567', '10327654', '01234765'], others: ['10234567', '23014567', '41230567'] },
  'neighbours in two heads': { whole: ['23016745'], others: ['23014567', '10325476', '21036547', '01236745'] },
};

const withTables = (form: Form, order: readonly number[], columns: string, where: 'above' | 'below'): Graph => {
  const map = (from: string, to: string): string =>
    `%${to}: f32[${form.x.join()}] = qc.Encode(%${from}) {size = 8, perm = [${order.join()}]}`;
  const shape = `f32[${form.x.join()}]`;
  const rotary = (from: string): string => `%r: ${shape} = RotaryEmbedding(%${from}, %c_1, %s_1) {${form.attributes}}`;
  return parseGraph(`graph @g(%x: ${shape}, %c: f32[2,3,2], %s: f32[2,3,2]) {
    const %columns: i64[2] = [${columns}]
    %c_1: f32[2,3,2] = Gather(%c, %columns) {axis = -1}
    %s_1: f32[2,3,2] = Gather(%s, %columns) {axis = -1}
    ${where === 'above' ? `${map('x', 't')}\n${rotary('t')}` : `${rotary('x')}\n${map('r', 't')}`}
    %y: ${shape} = Neg(%${where === 'above' ? 'r' : 't'})
    return %y }`);
};

describe.each(Object.entries(forms))('of %s', (name, form) => {
  const { whole, others } = orders[name as keyof typeof forms];
  const feeds = { x: randomFeed(form.x, 1), c: randomFeed([2, 3, 2], 2), s: randomFeed([2, 3, 2], 3) };
  const digits = (order: string): readonly number[] => [...order].map(Number);
  const admitted = (order: string): boolean => {
    const node = encoded(form, [1, 1, 1, 1, 1, 1, 1, 1]).first!;
    return admits(recordOf(node).up!.freedom(node, 8, 0)!, permutation(digits(order)));
  };
  test.each(whole)('the order %s of whole pairs passes, and the tables follow it', async (order) => {
    expect(admitted(order)).toBe(true);
    const graph = withTables(form, digits(order), '0, 1', 'below');
    const before = await runOnce(executor, graph, feeds);
    await runPipeline(executor, graph, 'fold-channels');
    const ops = opsOf(graph);
    expect(ops.indexOf('qc.Encode')).toBeLessThan(ops.indexOf('RotaryEmbedding'));
    expect(ops.lastIndexOf('qc.Encode')).toBe(ops.indexOf('qc.Encode'));
    expect(largestDifference(before, await runOnce(executor, graph, feeds))).toBeLessThan(1e-6);
  });
  test.each(others)('the order %s does not, and whatever the tables do, it would change the result', async (order) => {
    expect(admitted(order)).toBe(false);
    const wanted = await runOnce(executor, withTables(form, digits(order), '0, 1', 'below'), feeds);
    for (const columns of ['0, 1', '1, 0']) {
      const found = await runOnce(executor, withTables(form, digits(order), columns, 'above'), feeds);
      expect(largestDifference(wanted, found)).toBeGreaterThan(1e-2);
    }
  });
});

test('query and key that turn by the same tables read the same ones afterwards', async () => {
  const graph = parseGraph(`graph @g(%x: f32[1,3,4], %c: f32[1,3,2], %s: f32[1,3,2]) {
    const %w: f32[4,4] = random 1
    const %v: f32[4,4] = random 2
    %q: f32[1,3,4] = MatMul(%x, %w)
    %k: f32[1,3,4] = MatMul(%x, %v)
    %rq: f32[1,3,4] = RotaryEmbedding(%q, %c, %s) {num_heads = 1}
    %rk: f32[1,3,4] = RotaryEmbedding(%k, %c, %s) {num_heads = 1}
    %eq: f32[1,3,4] = qc.Encode(%rq) {size = 4, perm = [1, 0, 3, 2]}
    %ek: f32[1,3,4] = qc.Encode(%rk) {size = 4, perm = [1, 0, 3, 2]}
    %y: f32[1,3,4] = Sub(%eq, %ek)
    return %y }`);
  await runPipeline(executor, graph, 'fold-channels');
  const [q, k] = [...graph.nodes].filter((n) => n.op === 'RotaryEmbedding');
  expect([q!.input(1), q!.input(2)]).toEqual([k!.input(1), k!.input(2)]);
  expect(opsOf(graph).filter((op) => op !== 'MatMul' && op !== 'Sub')).toEqual(['Gather', 'Gather', 'RotaryEmbedding', 'RotaryEmbedding']);
});

test('no shift passes, and nothing where the heads are unknown', () => {
  const node = encoded(forms['two heads'], [1, 1, 1, 1, 1, 1, 1, 1]).first!;
  expect(recordOf(node).up!.freedom(node, 8, 0)!.can).toEqual({ perm: true, scale: true, shift: false });
  expect(recordOf(node).up!.freedom(node, 7, 0)).toBeNull();
});
