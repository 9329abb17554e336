import { afterAll, describe, expect, test } from '@jest/globals';
import { cloneGraph, parseGraph, type Graph } from '../../ir/index.ts';
import type { Feeds } from '../../passes/index.ts';
import { elements, f32, i64, numbers, plainExecutor, runPipeline } from '../support/run.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

const [channels, outputs, tokens] = [8, 6, 16];

/** Two linears that read one value, one with a bias; both results are outputs. */
const graphOf = (): Graph =>
  parseGraph(`graph @two(%x: f32[B,S,8], %attention_mask: i64[B,S]) {
    const %w: f32[8,6] = random 7
    const %v: f32[8,6] = random 8
    const %b: f32[6] = random 9
    %r: f32[B,S,8] = Relu(%x)
    %p: f32[B,S,6] = MatMul(%r, %w)
    %y: f32[B,S,6] = Add(%p, %b)
    %z: f32[B,S,6] = MatMul(%r, %v)
    return %y, %z
  }`);

/** Tokens of which the last is padding. */
function sampleOf(seed: number, scale = 1): Feeds {
  const kept = Array.from({ length: tokens }, (_, i) => (i === tokens - 1 ? 0 : 1));
  const x = numbers(tokens * channels, seed).map((u, i) => (u + 0.3 * (i % channels)) * scale);
  return { x: f32([1, tokens, channels], x), attention_mask: i64([1, tokens], kept) };
}
const samples = Array.from({ length: 6 }, (_, s) => sampleOf(s + 1));
const later = Array.from({ length: 40 }, (_, s) => sampleOf(s + 100));

const untilQuantized = (scheme: string): string => `mark-sites{scheme=${scheme} head},observe,calibrate,quantize{scheme=${scheme}}`;

/** What the quantized graph takes from each result: by output, for each token that is no padding, [outputs]. */
async function taken(float: Graph, quantized: Graph, some: readonly Feeds[], name: string): Promise<readonly Float32Array[]> {
  const rows: Float32Array[] = [];
  const [exact, rounded] = [await executor.load(float), await executor.load(quantized)];
  for (const feeds of some) {
    const [y, q] = [await exact.run(feeds), await rounded.run(feeds)].map((r) => elements(r, name));
    for (let t = 0; t < tokens - 1; t++) rows.push(y!.slice(t * outputs, (t + 1) * outputs).map((u, j) => u - q![t * outputs + j]!));
  }
  await exact.close();
  await rounded.close();
  return rows;
}
const meanOf = (rows: readonly Float32Array[]): readonly number[] =>
  Array.from({ length: outputs }, (_, j) => rows.reduce((sum, row) => sum + row[j]!, 0) / rows.length);
const squares = (rows: readonly Float32Array[]): number =>
  rows.reduce((sum, row) => sum + row.reduce((s, u) => s + u * u, 0), 0) / rows.length;

const run = (graph: Graph, pipeline: string, some: readonly Feeds[] = samples) =>
  runPipeline(executor, graph, pipeline, { samples: some, facts: ['raised', 'folded', 'quantized'] });

describe('bias-correct', () => {
  test.each(['w4a4', 'w4a16', 'os+-int4-token'])('leaves results their mean on the samples, at %s', async (scheme) => {
    const float = graphOf();
    const before = graphOf();
    await run(before, untilQuantized(scheme));
    const after = cloneGraph(before);
    const report = await run(after, 'bias-correct');
    expect(report.passes[0]!.counts.get('biases')).toBe(2);
    for (const name of ['y', 'z']) {
      const was = meanOf(await taken(float, before, samples, name));
      expect(Math.max(...was.map(Math.abs))).toBeGreaterThan(0.01);
      for (const mean of meanOf(await taken(float, after, samples, name))) expect(mean).toBeCloseTo(0, 5);
    }
  });

  test('lowers the error on samples that it has not seen', async () => {
    const float = graphOf();
    const before = graphOf();
    await run(before, untilQuantized('w4a4'));
    const after = cloneGraph(before);
    await run(after, 'bias-correct');
    for (const name of ['y', 'z'])
      expect(squares(await taken(float, after, later, name))).toBeLessThan(squares(await taken(float, before, later, name)));
  });

  test('goes into the bias that is there, and makes one where there is none', async () => {
    const graph = graphOf();
    await run(graph, `${untilQuantized('w4a4')},bias-correct`);
    const adds = [...graph.nodes].filter((n) => n.op === 'Add');
    expect(adds.map((n) => n.output.name)).toEqual(['y', 'z']);
  });

  test('leaves biases alone where the halves of the samples say the opposite of each other', async () => {
    const graph = graphOf();
    // The weights err by as much on either side of zero: with linears that read x itself, the mean changes sign with the samples.
    const relu = [...graph.nodes].find((n) => n.op === 'Relu')!;
    graph.replaceUses(relu.output, relu.input(0)!);
    graph.erase(relu);
    const opposite = [1, -1, 1, -1].map((scale) => sampleOf(1, scale));
    const report = await run(graph, `${untilQuantized('w4a16')},bias-correct`, opposite);
    expect(Object.fromEntries(report.passes.at(-1)!.counts)).toEqual({ 'left, because the halves of the samples differ': 2 });
    expect([...graph.nodes].filter((n) => n.op === 'Add')).toHaveLength(1);
  });

  test.each([0, 1])('says that it needs more than %i samples', async (count) => {
    const graph = graphOf();
    const report = await run(graph, `mark-sites{scheme=w4a16 head},observe,quantize{scheme=w4a16},bias-correct`, samples.slice(0, count));
    expect(report.diagnostics.map((d) => d.code)).toEqual(['QC3202']);
    expect(report.passes.at(-1)!.changed).toBe(false);
  });

  test('does nothing to a graph that nothing quantizes', async () => {
    const graph = graphOf();
    const report = await run(graph, 'bias-correct', []);
    expect(report.diagnostics).toEqual([]);
    expect(report.passes[0]!.changed).toBe(false);
  });
});
