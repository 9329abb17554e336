import { describe, expect, test } from '@jest/globals';
import keepFloat from '../../examples/custom-pass/keep-float.mjs';
import { codeEntry, parseGraph, printGraph, sites, viewAs, FakeQuantize, type Graph } from '../../ir/index.ts';
import { Ledger, largestDifference, PassManager, passes, runOnce, type RunReport } from '../../passes/index.ts';
import { cloneGraph } from '../../ir/clone.ts';
import { OrtExecutor } from '../../src/runtime/ort-executor.ts';

// The channels of %a are alike, one channel of %b is 200 times as wide as the others.
const text = `graph @two(%a: f32[N,4], %b: f32[N,4]) {
  const %v: f32[4,2] = random 1
  const %w: f32[4,2] = random 2
  %a_1: f32[N,4] = qc.Observer(%a) {key = "a", max = f32[4] [1.0, 2.0, 1.0, 2.0], min = f32[4] [-1.0, -2.0, -1.0, -2.0]}
  %a_2: f32[N,4] = qc.Site(%a_1) {key = "a", role = "linear"}
  %b_1: f32[N,4] = qc.Observer(%b) {key = "b", max = f32[4] [1.0, 1.0, 1.0, 200.0], min = f32[4] [-1.0, -1.0, -1.0, -200.0]}
  %b_2: f32[N,4] = qc.Site(%b_1) {key = "b", role = "linear"}
  %p: f32[N,2] = MatMul(%a_2, %v)
  %q: f32[N,2] = MatMul(%b_2, %w)
  %p_1: f32[N,2] = Relu(%p)
  %q_1: f32[N,2] = Relu(%q)
  return %p_1, %q_1
}
`;

const manager = new PassManager([...passes, keepFloat]);

async function run(graph: Graph, pipeline: string): Promise<RunReport> {
  const executor = new OrtExecutor();
  const services = {
    executor,
    spool: () => {
      throw new Error('nothing here spools');
    },
    samples: null,
    mask: null,
    statistics: null,
  };
  try {
    return await manager.plan(pipeline, ['sites', 'calibrated', 'folded']).run(graph, { services, contract: null, ledger: new Ledger() });
  } finally {
    await executor.close();
  }
}

describe('examples/custom-pass', () => {
  test('takes out the site whose channels differ too much, and only that one', async () => {
    const graph = parseGraph(text);
    const report = await run(graph, 'keep-float{spread=50}');
    expect(sites(graph).map((s) => s.key)).toEqual(['a']);
    expect(report.passes[0]!.counts.get('kept')).toBe(1);
    expect(printGraph(graph)).toContain('%q: f32[N,2] = MatMul(%b_1, %w)');
  });

  test('leaves all sites with its default', async () => {
    const graph = parseGraph(text);
    await run(graph, 'keep-float');
    expect(sites(graph).map((s) => s.key)).toEqual(['a', 'b']);
  });

  test('does not change what the graph computes', async () => {
    const graph = parseGraph(text);
    const before = cloneGraph(graph);
    await run(graph, 'keep-float{spread=50}');
    const executor = new OrtExecutor();
    const data = Float32Array.from({ length: 8 }, (_, i) => i - 3);
    const feeds = { a: { dtype: 'f32', shape: [2, 4], data }, b: { dtype: 'f32', shape: [2, 4], data } } as const;
    try {
      expect(largestDifference(await runOnce(executor, before, feeds), await runOnce(executor, graph, feeds))).toBe(0);
    } finally {
      await executor.close();
    }
  });

  test('what it leaves alone is in the ledger after quantize', async () => {
    const graph = parseGraph(text);
    const report = await run(graph, 'keep-float{spread=50},quantize');
    expect([...graph.nodes].flatMap((n) => viewAs(FakeQuantize, n)?.x.name ?? [])).toEqual(['a', 'v']);
    expect(report.ledger.entries).toContainEqual({
      kind: 'linear',
      name: 'q',
      done: [],
      left: ['its weight stays in float: no site before it'],
    });
  });

  test('its options are checked like those of any pass', () => {
    expect(() => manager.plan('keep-float{spread=0.5}', ['calibrated'])).toThrow('keep-float{spread=0.5}: expected a number of at least 1');
    expect(() => manager.plan('keep-float')).toThrow(/'keep-float' needs 'calibrated'/);
    expect(codeEntry('QC2005').title).toBe('pass order');
  });
});
