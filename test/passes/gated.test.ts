import { afterAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { admits, inverse, parseGraph, permutation, standardize, type ChannelTransform, type Graph, type Value } from '../../ir/index.ts';
import { freedomAbove } from '../../passes/channels/freedom-at.ts';
import { largestDifference, runOnce } from '../../passes/index.ts';
import { opsOf, plainExecutor, randomFeed, runPipeline } from '../support/run.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

/** How 4 channels %m come from %x, and whether a scale passes. */
const forms: Readonly<Record<string, { readonly text: string; readonly scale: boolean }>> = {
  'silu(gate) up': {
    text: `%g: f32[2,3,4] = MatMul(%x, %w1)
      %s: f32[2,3,4] = Sigmoid(%g)
      %a: f32[2,3,4] = Mul(%g, %s)
      %u: f32[2,3,4] = MatMul(%x, %w2)
      %m: f32[2,3,4] = Mul(%a, %u)`,
    scale: true,
  },
  'up gelu(gate + bias)': {
    text: `%g: f32[2,3,4] = MatMul(%x, %w1)
      %h: f32[2,3,4] = Add(%g, %b)
      %a: f32[2,3,4] = Gelu(%h)
      %u: f32[2,3,4] = MatMul(%x, %w2)
      %m: f32[2,3,4] = Mul(%u, %a)`,
    scale: true,
  },
  'two linears': {
    text: `%g: f32[2,3,4] = MatMul(%x, %w1)
      %u: f32[2,3,4] = MatMul(%x, %w2)
      %m: f32[2,3,4] = Mul(%g, %u)`,
    scale: true,
  },
  'a square': { text: '%u: f32[2,3,4] = MatMul(%x, %w1)\n %m: f32[2,3,4] = Mul(%u, %u)', scale: false },
  'a number': { text: '%u: f32[2,3,4] = MatMul(%x, %w1)\n %m: f32[2,3,4] = Mul(%k, %u)', scale: true },
  'a number for each channel': { text: '%u: f32[2,3,4] = MatMul(%x, %w1)\n %m: f32[2,3,4] = Mul(%u, %c)', scale: true },
  'packed gate and up': {
    text: `%p: f32[2,3,8] = MatMul(%x, %w4)
      %q: f32[2,3,8] = Add(%p, %b2)
      %g: f32[2,3,4], %u: f32[2,3,4] = Split(%q, %n) {axis = 2}
      %s: f32[2,3,4] = Sigmoid(%g)
      %a: f32[2,3,4] = Mul(%g, %s)
      %m: f32[2,3,4] = Mul(%u, %a)`,
    scale: true,
  },
  'a quotient': { text: '%u: f32[2,3,4] = MatMul(%x, %w1)\n %m: f32[2,3,4] = Div(%u, %c)', scale: true },
};

const constants = `
    const %w1: f32[4,4] = random 1
    const %w2: f32[4,4] = random 2
    const %w3: f32[4,4] = random 3
    const %w4: f32[4,8] = random 5
    const %b2: f32[8] = random 6
    const %n: i64[2] = [4, 4]
    const %b: f32[4] = random 4
    const %c: f32[4] = [1.5, -2, 0.5, 3]
    const %k: f32[] = [0.25]`;

const graphOf = (text: string, encode: string, outputs = '%y'): Graph =>
  parseGraph(`graph @g(%x: f32[2,3,4]) {${constants}
      ${text}
      ${encode}
      return ${outputs} }`);

/** %m in another basis and back, and a product that reads it. */
const around = (t: ChannelTransform): string => `%e = qc.Encode(%m) {${attributes(t)}}
      %d = qc.Decode(%e) {${attributes(inverse(t))}}
      %y: f32[2,3,4] = MatMul(%d, %w3)`;

const attributes = ({ perm, scale }: ChannelTransform): string =>
  ['size = 4', ...(perm ? [`perm = [${[...perm].join()}]`] : []), ...(scale ? [`scale = f64[4] [${[...scale].join()}]`] : [])].join(', ');

const maps = fc
  .tuple(fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }), fc.array(fc.constantFrom(0.5, 1, 2, -4), { minLength: 4, maxLength: 4 }))
  .map(([perm, scale]): ChannelTransform => ({
    ...standardize(
      [0, 0, 0, 0],
      scale.map((s) => 1 / s),
    ),
    perm: permutation(perm).perm,
  }));

const named = (graph: Graph, name: string): Value => [...graph.nodes].flatMap((n) => n.outputs).find((v) => v.name === name)!;
const feeds = { x: randomFeed([2, 3, 4], 1) };

test.each(Object.entries(forms))(
  '%s: what freedom admits folds away and keeps the function, and what it refuses stays',
  async (_, { text, scale }) => {
    await fc.assert(
      fc.asyncProperty(maps, async (t) => {
        const graph = graphOf(text, around(t));
        const freedom = freedomAbove(named(graph, 'm'), 4);
        expect(freedom.can).toEqual({ perm: true, scale, shift: false });
        const before = await runOnce(executor, graph, feeds);
        await runPipeline(executor, graph, 'fold-channels');
        expect(opsOf(graph).includes('qc.Encode')).toBe(!admits(freedom, t));
        expect(opsOf(graph)).not.toContain('qc.Decode');
        expect(largestDifference(before, await runOnce(executor, graph, feeds))).toBeLessThan(1e-5);
      }),
      { numRuns: 8, seed: 3 },
    );
  },
);

test.each([
  ['a factor that something else reads', forms['two linears']!.text, '%y: f32[2,3,4] = Neg(%m)\n %z: f32[2,3,4] = Neg(%u)', '%y, %z'],
  ['a factor that the graph gives out', forms['two linears']!.text, '%y: f32[2,3,4] = Neg(%m)', '%y, %g'],
  ['a gate that something else reads', forms['silu(gate) up']!.text, '%y: f32[2,3,4] = Neg(%m)\n %z: f32[2,3,4] = Neg(%s)', '%y, %z'],
  [
    'one number for each token',
    '%u: f32[2,3,4] = MatMul(%x, %w1)\n %o: f32[2,3,1] = ReduceMax(%u) {keepdims = 1}\n %m: f32[2,3,4] = Mul(%u, %o)',
    '%y: f32[2,3,4] = Neg(%m)',
    '%y',
  ],
  [
    'one number for each token, times one for each channel',
    '%u: f32[2,3,4] = MatMul(%x, %w1)\n %o: f32[2,3,1] = ReduceMax(%u) {keepdims = 1}\n %m: f32[2,3,4] = Mul(%o, %c)',
    '%y: f32[2,3,4] = Neg(%m)',
    '%y',
  ],
  [
    'one number for each token, and a bias for each channel',
    '%u: f32[2,3,4] = MatMul(%x, %w1)\n %o: f32[2,3,1] = ReduceMax(%u) {keepdims = 1}\n %m: f32[2,3,4] = Add(%o, %b)',
    '%y: f32[2,3,4] = Neg(%m)',
    '%y',
  ],
  ['a constant by channels', '%u: f32[2,3,4] = MatMul(%x, %w1)\n %m: f32[2,3,4] = Div(%c, %u)', '%y: f32[2,3,4] = Neg(%m)', '%y'],
])('%s takes no change of basis', (_, text, rest, outputs) => {
  expect(freedomAbove(named(graphOf(text, rest, outputs), 'm'), 4).can).toEqual({ perm: false, scale: false, shift: false });
});
