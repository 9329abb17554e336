import { afterAll, describe, expect, test } from '@jest/globals';
import { parseGraph, printGraph, type Graph } from '../../ir/index.ts';
import { PassManager, passes, runOnce, type Feeds } from '../../passes/index.ts';
import { elements, everyFact, f32, numbers, plainExecutor, runPipeline } from '../support/run.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

const [tokens, channels, columns] = [200, 64, 24];
const graphOf = (): Graph =>
  parseGraph(`graph @linear(%x: f32[B,${channels}]) {
    const %w: f32[${channels},${columns}] = random 3
    %xo: f32[B,${channels}] = qc.Observer(%x) {key = "x"}
    %xs: f32[B,${channels}] = qc.Site(%xo) {key = "x", role = "linear"}
    %y: f32[B,${columns}] = MatMul(%xs, %w)
    return %y
  }`);
/** Every eighth channel is twenty times as wide. */
const feeds = (seed: number): Feeds => ({
  x: f32(
    [tokens, channels],
    numbers(tokens * channels, seed).map((x, i) => (i % 8 === 3 ? 20 * x : x)),
  ),
});
const samples = [feeds(1), feeds(2)];

async function compiled(pipeline: string): Promise<Graph> {
  const graph = graphOf();
  await runPipeline(executor, graph, pipeline, { facts: everyFact, samples });
  return graph;
}
async function lost(graph: Graph, on: Feeds): Promise<number> {
  const [is, was] = [elements(await runOnce(executor, graph, on), 'y'), elements(await runOnce(executor, graphOf(), on), 'y')];
  return is.reduce((sum, v, i) => sum + (v - was[i]!) ** 2, 0);
}

describe('clip', () => {
  test.each(['w4a16', 'rptq-w3a3kv', 'os+-int4-token'])('loses less than the whole range, on other tokens too: %s', async (scheme) => {
    const nearest = await compiled(`calibrate,quantize{scheme=${scheme}}`);
    const clipped = await compiled(`calibrate,clip{scheme=${scheme}},quantize{scheme=${scheme}}`);
    for (const on of [...samples, feeds(3)]) expect(await lost(clipped, on)).toBeLessThan(await lost(nearest, on));
  });

  test('leaves weights alone that have a quantizer, and quantize leaves those of clip', async () => {
    const rounded = await compiled('calibrate,gptq{scheme=w4a16}');
    const after = await compiled('calibrate,gptq{scheme=w4a16},clip{scheme=w8a8}');
    expect(printGraph(after).match(/qc\.FakeQuantize.*/g)).toEqual(printGraph(rounded).match(/qc\.FakeQuantize.*/g));
    const report = await runPipeline(executor, graphOf(), 'calibrate,clip{scheme=w4a16},quantize{scheme=w4a16}', {
      facts: everyFact,
      samples,
    });
    expect(report.passes.map((p) => p.counts.get('weights') ?? 0)).toEqual([0, 1, 0]);
  });

  test('has weights alone calibrated, and transforms folded before it', () => {
    const names = new PassManager(passes)
      .complete(
        [
          { name: 'os+', options: {} },
          { name: 'clip', options: {} },
        ],
        ['quantized'],
        { scheme: 'w4a16' },
      )
      .map((c) => c.name);
    expect(names.slice(names.indexOf('calibrate'))).toEqual(['calibrate', 'os+', 'fold-channels', 'clip', 'quantize']);
  });

  test('says where nothing was seen', async () => {
    const report = await runPipeline(executor, graphOf(), 'clip{scheme=w4a16}', { facts: everyFact });
    expect(report.diagnostics.map((d) => [d.code, d.message])).toEqual([['QC3201', 'no squares at %x; clip leaves the weights behind it']]);
  });
});
