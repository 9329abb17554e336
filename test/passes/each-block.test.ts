import { afterAll, describe, expect, test } from '@jest/globals';
import { cloneGraph, printGraph, type Graph } from '../../ir/index.ts';
import { blocks, runOnce, sampleAt, type Feeds, type Samples } from '../../passes/index.ts';
import {
  contractOn,
  cosine,
  elements,
  everyFact,
  fixtureSamples,
  fusingExecutor,
  openFixture,
  runPipeline,
  type FixtureName,
} from '../support/run.ts';

const executor = fusingExecutor();
afterAll(() => executor.close());

const names: readonly FixtureName[] = ['opt-tiny-op13', 'bert-tiny-op17', 'gpt2-tiny-op17', 'encoder-mha-op17'];
const method = 'calibrate,rptq{r1=4 r2=2 r3=2 r4=4 r5=4},fold-channels,os+{threshold=2},fold-channels,quantize{scheme=rptq-w4a4}';
const marked = async (name: FixtureName): Promise<Graph> => {
  const graph = openFixture(name);
  await runPipeline(executor, graph, 'raise,fold-constants,mark-sites{scheme=rptq-w4a4},observe', {});
  return graph;
};

describe('blocks in parallel', () => {
  test.each(names)('of %s give what the passes give by themselves', async (name) => {
    const samples = fixtureSamples(name, 3);
    const graph = await marked(name);
    const other = cloneGraph(graph);
    const held = await runPipeline(executor, graph, `each-block(${method})`, { facts: everyFact, samples });
    const bare = await runPipeline(executor, other, method, { facts: everyFact, samples });
    expect(printGraph(graph)).toBe(printGraph(other));
    const counted = (report: typeof held) => report.passes.map((p) => [p.call.name, [...p.counts]]);
    expect(counted(held)).toEqual([['each-block', []], ...counted(bare)]);
  });
});

describe('blocks in sequence', () => {
  test.each(names)('of %s are all quantized, their exact passes are checked, and the outputs stay near', async (name) => {
    const samples = fixtureSamples(name, 3);
    const graph = await marked(name);
    const float = cloneGraph(graph);
    const [parallel, count] = [cloneGraph(graph), blocks(graph, 1).length];
    const contract = await contractOn(executor, graph, samples[0]!);
    const report = await runPipeline(executor, graph, `each-block{order=sequential}(${method})`, { facts: everyFact, samples, contract });
    await contract.close();
    expect(contract.worst).toBeGreaterThan(0);
    expect(contract.worst).toBeLessThan(1e-4);
    expect(report.passes.find((p) => p.call.name === 'each-block')!.counts.get('blocks')).toBe(count);
    const other = await runPipeline(executor, parallel, method, { facts: everyFact, samples });
    for (const what of ['weights', 'activations'])
      expect(report.passes.at(-1)!.counts.get(what)).toBe(other.passes.at(-1)!.counts.get(what));
    expect([...graph.nodes].some((n) => n.op === 'qc.Site' || n.op === 'qc.Observer')).toBe(false);
    expect(graph.outputs.map((v) => v.name)).toEqual(float.outputs.map((v) => v.name));
    const [output] = graph.outputs.map((v) => v.name) as [string];
    const [is, was] = [await runOnce(executor, graph, samples[1]!), await runOnce(executor, float, samples[1]!)];
    expect(cosine(elements(is, output), elements(was, output))).toBeGreaterThan(0.8);
  });

  test('feed each block with what the quantized ones before it give', async () => {
    const graph = await marked('opt-tiny-op13');
    const parallel = cloneGraph(graph);
    const samples = fixtureSamples('opt-tiny-op13', 3);
    const scheme = 'calibrate,quantize{scheme=rptq-w4a4}';
    await runPipeline(executor, graph, `each-block{order=sequential}(${scheme})`, { facts: everyFact, samples });
    await runPipeline(executor, parallel, scheme, { facts: everyFact, samples });
    const scales = (g: Graph): readonly (readonly number[])[] =>
      [...g.nodes].filter((n) => n.op === 'qc.FakeQuantize' && !n.input(0)!.constant).map((n) => numbersIn(n.input(1)!.constant!.bytes()));
    const [one, other] = [scales(graph), scales(parallel)];
    expect(one).toHaveLength(other.length);
    // Nothing before the first site is quantized; what the last ones see has come through quantizers.
    expect(one[0]).toEqual(other[0]);
    expect(one.at(-1)).not.toEqual(other.at(-1));
  });

  test('have their weights rounded by what they are fed with', async () => {
    const graph = await marked('opt-tiny-op13');
    const parallel = cloneGraph(graph);
    const samples = fixtureSamples('opt-tiny-op13', 3);
    const rounded = 'calibrate,gptq{scheme=rptq-w4a4},quantize{scheme=rptq-w4a4}';
    const report = await runPipeline(executor, graph, `each-block{order=sequential}(${rounded})`, { facts: everyFact, samples });
    await runPipeline(executor, parallel, rounded, { facts: everyFact, samples });
    const counts = (name: string) => report.passes.find((p) => p.call.name === name)!.counts.get('weights') ?? 0;
    const weights = (g: Graph): readonly (readonly number[])[] =>
      [...g.nodes].flatMap((n) => (n.op === 'qc.FakeQuantize' && n.input(0)!.constant ? [numbersIn(n.input(0)!.constant!.bytes())] : []));
    expect([counts('gptq'), counts('quantize')]).toEqual([weights(parallel).length, 0]);
    expect(weights(graph)).toHaveLength(weights(parallel).length);
    expect(weights(graph)[0]).toEqual(weights(parallel)[0]);
    expect(weights(graph).at(-1)).not.toEqual(weights(parallel).at(-1));
  });

  test('read their samples one at a time', async () => {
    const graph = await marked('opt-tiny-op13');
    const all = fixtureSamples('opt-tiny-op13', 3);
    const asked: number[] = [];
    const samples: Samples = {
      length: all.length,
      at: (s) => {
        asked.push(s);
        return Promise.resolve(all[s]);
      },
    };
    await runPipeline(executor, graph, 'each-block{order=sequential}(calibrate,quantize)', { facts: everyFact, samples });
    expect(asked).toEqual([0, 1, 2]);
    await expect(sampleAt([] as readonly Feeds[], 0)).rejects.toThrow('there is no sample 0');
  });

  test('need samples', async () => {
    const graph = await marked('opt-tiny-op13');
    const run = runPipeline(executor, graph, 'each-block{order=sequential}(quantize)', { facts: everyFact });
    await expect(run).rejects.toMatchObject({ code: 'QC2101' });
  });
});

const numbersIn = (bytes: Uint8Array): readonly number[] => [...new Float32Array(bytes.slice().buffer)];
