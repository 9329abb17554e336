import { describe, expect, test } from '@jest/globals';
import { definePass, ops, parseGraph, runPipeline, sites, statisticsAt, viewAs } from '../src/index.ts';

const text = `graph @g(%x: f32[N,2]) {
  const %w: f32[2,2] = random 1
  %r: f32[N,2] = Relu(%x)
  %y: f32[N,2] = MatMul(%r, %w)
  return %y
}
`;
const sample = (data: readonly number[]) => ({ x: { dtype: 'f32', shape: [2, 2], data: Float32Array.from(data) } }) as const;

const dropRelu = definePass({
  name: 'drop-relu',
  summary: 'a test',
  contract: 'exact',
  run(graph) {
    for (const node of graph.nodes) {
      const relu = viewAs(ops.Relu, node);
      if (relu) graph.replaceUses(relu.y, relu.x);
    }
  },
});

describe('runPipeline', () => {
  test('runs the passes on samples', async () => {
    const graph = parseGraph(text);
    const samples = [sample([1, -2, 3, -4]), sample([0, 5, 2, 1])];
    const report = await runPipeline(graph, 'raise,mark-sites,observe,calibrate', { samples });
    expect(report.passes.map((p) => p.call.name)).toEqual(['raise', 'mark-sites', 'observe', 'calibrate']);
    const [range] = sites(graph).map((site) => statisticsAt(site)?.range);
    expect([[...range!.min], [...range!.max]]).toEqual([
      [0, 0],
      [3, 5],
    ]);
  });
  test('goes on from what the graph shows, and from facts that it is told', async () => {
    const graph = parseGraph(text);
    await runPipeline(graph, 'mark-sites,observe', { facts: ['raised', 'folded'] });
    await runPipeline(graph, 'calibrate,rptq', { samples: [sample([1, -2, 3, -4])] });
    await expect(runPipeline(parseGraph(text), 'observe')).rejects.toThrow(/QC2005/);
  });
  test('holds exact passes to their word, unless told not to', async () => {
    const options = { plugins: [dropRelu], samples: [sample([1, -2, 3, -4])] };
    await expect(runPipeline(parseGraph(text), 'drop-relu', options)).rejects.toThrow(/QC3001/);
    await runPipeline(parseGraph(text), 'drop-relu', { ...options, verify: false });
  });
});
