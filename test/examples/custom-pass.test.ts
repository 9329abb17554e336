import { describe, expect, test } from '@jest/globals';
import { basename } from 'node:path';
import clipChannels from '../../examples/custom-pass/clip-channels.mjs';
import keepFloat from '../../examples/custom-pass/keep-float.mjs';
import mergeAdds from '../../examples/custom-pass/merge-adds.mjs';
import { cloneGraph, codeEntry, FakeQuantize, floats, parseGraph, printGraph, sites, viewAs, type Graph } from '../../ir/index.ts';
import { largestDifference, PassManager, passes, runOnce, type RunReport } from '../../passes/index.ts';
import { OrtExecutor } from '../../src/runtime/ort-executor.ts';
import { runPipeline } from '../../src/index.ts';
import { checkGolden, goldensIn } from '../../src/testing.ts';

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
const plugins = [keepFloat, mergeAdds, clipChannels];

const run = (graph: Graph, pipeline: string): Promise<RunReport> => runPipeline(graph, pipeline, { plugins });

describe('their goldens', () =>
  test.each(goldensIn('examples/custom-pass').map((path) => [basename(path, '.qcir'), path] as const))('%s', (_, path) =>
    checkGolden(path, { plugins }),
  ));

describe('keep-float', () => {
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

describe('merge-adds', () => {
  const chain = (last: string): string => `graph @chain(%x: f32[2,2]) {
    const %a: f32[2] = [1.0, 2.0]
    const %b: ${last} = [4.0, 8.0]
    const %c: f32[] = [0.5]
    %p: f32[2,2] = Add(%a, %x)
    %q: f32[2,2] = Add(%p, %c)
    %y: f32[2,2] = Add(%q, %c)
    %z: f32[2,2] = Add(%y, %b)
    %w: f32[2,2] = Relu(%z)
    return %w
  }`;

  test('leaves one Add of a chain, which computes the same', async () => {
    const graph = parseGraph(chain('f32[1,2]'));
    const before = cloneGraph(graph);
    const report = await run(graph, 'merge-adds');
    expect(report.passes[0]!.counts.get('merged')).toBe(3);
    expect([...graph.nodes].map((n) => n.op)).toEqual(['Add', 'Relu']);
    const executor = new OrtExecutor();
    const feeds = { x: { dtype: 'f32', shape: [2, 2], data: Float32Array.of(-9, 1, 2, -20) } } as const;
    try {
      expect(largestDifference(await runOnce(executor, before, feeds), await runOnce(executor, graph, feeds))).toBe(0);
    } finally {
      await executor.close();
    }
  });

  test('says what it left, and a second run changes nothing', async () => {
    const graph = parseGraph(chain('f32[2,1]'));
    const { ledger } = await run(graph, 'merge-adds');
    expect(ledger.refused).toEqual([
      { node: 'z', op: 'Add', rule: 'merge-adds', why: 'the sum of its constants is larger than either', value: 'y' },
    ]);
    const again = await run(graph, 'merge-adds');
    expect(again.passes[0]!.changed).toBe(false);
  });

  test('takes no options', () => expect(() => new PassManager(plugins).plan('merge-adds{limit=1}')).toThrow(/has no option 'limit'/));
});

describe('clip-channels', () => {
  const model = `graph @g(%x: f32[N,4]) {
    const %w: f32[4,1] = [1.0, 0.5, -1.0, 0.25]
    %y: f32[N,1] = MatMul(%x, %w)
    return %y
  }`;
  /** 200 tokens within [-1, 1], with one element of 64. */
  const data = Float32Array.from({ length: 800 }, (_, i) => (i === 403 ? 64 : Math.sin(i)));
  const samples = [{ x: { dtype: 'f32', shape: [200, 4], data } }] as const;
  const scaleAfter = async (pipeline: string): Promise<number> => {
    const graph = parseGraph(model);
    await runPipeline(graph, `raise,mark-sites,observe,calibrate,${pipeline}`, { plugins, samples });
    const quantizer = [...graph.nodes].flatMap((n) => viewAs(FakeQuantize, n) ?? []).find((q) => q.x.name === 'x')!;
    return floats(quantizer.scale.constant!)[0]!;
  };

  test('keeps one element in 800 from making the step of all the others', async () => {
    expect(await scaleAfter('quantize')).toBeCloseTo(65 / 255, 3);
    expect(await scaleAfter('clip-channels{percentile=99},quantize')).toBeCloseTo(2 / 255, 3);
  });

  test('is refused where nothing was calibrated, and for a percentile below half', () => {
    const known = new PassManager([...passes, ...plugins]);
    expect(() => known.plan('clip-channels', ['sites'])).toThrow("'clip-channels' needs 'calibrated'");
    expect(() => known.plan('clip-channels{percentile=10}', ['calibrated'])).toThrow('expected a number of at least 50');
  });
});
