import { afterAll, describe, expect, test } from '@jest/globals';
import { parseGraph, sites, type Graph } from '../../ir/index.ts';
import { runOnce, type Feeds } from '../../passes/index.ts';
import { elements, f32, i64, numbers, opsOf, plainExecutor, runPipeline } from '../support/run.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

const [channels, tokens] = [8, 12];

/** Two inputs of linears: %x, whose size varies from sample to sample, and %h, which is 1 or -1. */
const graphOf = (): Graph =>
  parseGraph(`graph @two(%x: f32[B,S,8], %attention_mask: i64[B,S]) {
    const %w: f32[8,6] = random 7
    const %v: f32[8,6] = random 8
    %y: f32[B,S,6] = MatMul(%x, %w)
    %h: f32[B,S,8] = Sign(%x)
    %z: f32[B,S,6] = MatMul(%h, %v)
    return %y, %z
  }`);

/** The last token is padding, and large enough to decide everything if it counted. */
function sampleOf(seed: number, scale: number): Feeds {
  const kept = Array.from({ length: tokens }, (_, t) => (t === tokens - 1 ? 0 : 1));
  const x = numbers(tokens * channels, seed).map((u, i) => u * (i >= (tokens - 1) * channels ? 1e4 : scale));
  return { x: f32([1, tokens, channels], x), attention_mask: i64([1, tokens], kept) };
}
const alike = Array.from({ length: 8 }, (_, s) => sampleOf(s + 1, 1));
/** Those of odd number are 20 times as large as those that ranges come from. */
const unlike = Array.from({ length: 8 }, (_, s) => sampleOf(s + 1, s % 2 === 0 ? 1 : 20));

const start = 'mark-sites{head},observe,calibrate';
const run = (graph: Graph, pipeline: string, samples: readonly Feeds[] | null) =>
  runPipeline(executor, graph, pipeline, { samples, facts: ['raised', 'folded'] });
const ranges = (graph: Graph): Readonly<Record<string, string>> => Object.fromEntries(sites(graph).map((s) => [s.key, s.range]));

describe('dynamic-ranges', () => {
  test('gives a scale for each token to what static ones do not hold, and to nothing else', async () => {
    const graph = graphOf();
    const report = await run(graph, `${start},dynamic-ranges`, unlike);
    expect(ranges(graph)).toEqual({ x: 'token', h: 'static' });
    expect(Object.fromEntries(report.passes.at(-1)!.counts)).toEqual({ sites: 2, 'sites with a scale for each token': 1 });
  });

  test('leaves samples alone that are alike, whatever padding holds', async () => {
    const graph = graphOf();
    const report = await run(graph, `${start},dynamic-ranges`, alike);
    expect(ranges(graph)).toEqual({ x: 'static', h: 'static' });
    expect(report.passes.at(-1)!.changed).toBe(false);
  });

  test.each([
    ['most=1e9', { x: 'static', h: 'static' }],
    // What is exact with one scale gains nothing.
    ['most=0', { x: 'token', h: 'static' }],
    ['activations=block', { x: 'static', h: 'static' }],
  ])('{%s} gives %j', async (option, expected) => {
    const graph = graphOf();
    await run(graph, `${start},dynamic-ranges{${option}}`, unlike);
    expect(ranges(graph)).toEqual(expected);
  });

  test('lets fewer bits have more noise', async () => {
    const graph = graphOf();
    await run(graph, 'mark-sites{scheme=w4a4 head},observe,calibrate,dynamic-ranges{scheme=w4a4}', alike);
    expect(ranges(graph)).toEqual({ x: 'static', h: 'static' });
  });

  test('becomes a quantizer for each token, with less error on the samples that were unlike', async () => {
    const errors: number[] = [];
    for (const passes of ['quantize', 'dynamic-ranges,quantize']) {
      const graph = graphOf();
      const float = graphOf();
      // Statistics of the small samples alone, as if calibration had seen no others.
      await run(graph, start, [unlike[0]!]);
      await runPipeline(executor, graph, passes, { samples: unlike, facts: ['raised', 'folded', 'sites', 'observed', 'calibrated'] });
      expect(opsOf(graph).filter((op) => op === 'qc.DynamicQuantize')).toHaveLength(passes === 'quantize' ? 0 : 1);
      const [y, q] = [await runOnce(executor, float, unlike[1]!), await runOnce(executor, graph, unlike[1]!)].map((r) => elements(r, 'y'));
      errors.push(y!.slice(0, (tokens - 1) * 6).reduce((sum, u, i) => sum + (u - q![i]!) ** 2, 0));
    }
    expect(errors[1]!).toBeLessThan(0.01 * errors[0]!);
  });

  test.each([null, [], alike.slice(0, 1)])('needs two samples, not %p', async (samples) => {
    const graph = graphOf();
    await run(graph, start, alike);
    const facts = ['raised', 'folded', 'sites', 'observed', 'calibrated'];
    await expect(runPipeline(executor, graph, 'dynamic-ranges', { samples, facts })).rejects.toThrow('QC2101');
  });
});
