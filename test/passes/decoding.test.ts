import { afterAll, describe, expect, test } from '@jest/globals';
import { cloneGraph, sites, type Graph } from '../../ir/index.ts';
import { collect, reductions, statisticsOf, type Executor, type Feeds, type Samples, type Spool } from '../../passes/index.ts';
import { withDecoding } from '../../src/data/decoding.ts';
import { fit } from '../../src/data/fit.ts';
import { modelInputs, type ModelInput, type ModelInputs } from '../../src/data/inputs.ts';
import { inputsOf, openModel } from '../../src/model.ts';
import { fileSpool } from '../../src/runtime/spool.ts';
import { unknownLocation } from '../../ir/diagnostics.ts';
import { familyPath } from '../support/families.ts';
import { f32, i64, passContext, plainExecutor, runPipeline } from '../support/run.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

const outputsOf = (graph: Graph): readonly string[] => graph.outputs.map((v) => v.name);

/** Three samples of 9 to 11 tokens; the last one has padding at its end. */
function samplesFor(inputs: ModelInputs): readonly Feeds[] {
  return [9, 10, 11].map((length, s) => {
    const ids = Array.from({ length }, (_, i) => 3 + ((s * 31 + i * 7) % 30));
    const mask = ids.map((_, i) => (s === 2 && i >= 9 ? 0 : 1));
    const masks = inputs.mask ? { [inputs.mask.name]: i64([1, length], mask) } : {};
    return fit({ [inputs.tokens!.name]: i64([1, length], ids), ...masks }, inputs, unknownLocation);
  });
}

/** What a run of the sweep saw on the way: sessions, tokens in the caches that went in, and the most that lay in the spool. */
interface Watched {
  loads: number;
  readonly pasts: number[];
  spooled: number;
}

const isCache = (name: string): boolean => name.startsWith('past_key_values');
const tokensIn = (feeds: Feeds): readonly number[] => Object.entries(feeds).flatMap(([name, t]) => (isCache(name) ? [t.shape[2]!] : []));

function watching(watched: Watched): { readonly executor: Executor; readonly spool: () => Spool } {
  return {
    executor: {
      async load(graph) {
        watched.loads++;
        const program = await executor.load(graph);
        return {
          run(feeds) {
            watched.pasts.push(...new Set(tokensIn(feeds)));
            return program.run(feeds);
          },
          close: () => program.close(),
        };
      },
    },
    spool() {
      const spool = fileSpool();
      const put = (key: string, feeds: Feeds): Promise<void> => {
        watched.spooled = Math.max(watched.spooled, ...tokensIn(feeds));
        return spool.put(key, feeds);
      };
      return { ...spool, put };
    },
  };
}

/** The statistics of all sites of a model with observers. */
async function seen(graph: Graph, samples: Samples, least: number, watched: Watched = { loads: 0, pasts: [], spooled: 0 }) {
  const context = passContext(executor, samples, 'attention_mask');
  const services = { ...context.services, ...watching(watched) };
  const observes = Object.values(reductions).filter((r) => r !== reductions.gram);
  const found = await collect(cloneGraph(graph), { ...context, services, observes }, least);
  return new Map([...found].map(([key, attributes]) => [key, statisticsOf(attributes)!] as const));
}

const near = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  const largest = Math.max(...Array.from(b, Math.abs), 1e-6);
  return Math.max(...Array.from(a, (x, i) => Math.abs(x - b[i]!))) / largest;
};

describe.each(['opt-optimum', 'gpt2-optimum', 'llama-optimum', 'llama-genai', 'gemma3-genai'])('%s', (name) => {
  test.each([
    ['at once', 2 ** 40],
    ['block by block', 1],
  ])('decoding the last tokens sees what the whole samples do, %s', async (_, least) => {
    const graph = openModel(familyPath(name));
    const [inputs, outputs] = [modelInputs(inputsOf(graph)), outputsOf(graph)];
    await runPipeline(executor, graph, 'raise,open-caches,mark-sites{scheme=rptq-w4a4},observe');
    const samples = samplesFor(inputs);
    const watched: Watched = { loads: 0, pasts: [], spooled: 0 };
    const whole = await seen(graph, samples, least);
    const decoded = await seen(graph, withDecoding(samples, inputs, outputs, 3), least, watched);
    expect([...decoded.keys()]).toEqual(sites(graph).map(({ key }) => key));
    // What goes in at once leaves 6, 7 and 8 tokens in the caches, and each step one more.
    expect([...new Set(watched.pasts)].toSorted((a, b) => a - b)).toEqual([0, 6, 7, 8, 9, 10]);
    expect(watched.spooled).toBe(0);
    // One sweep for the shapes, one for the statistics.
    if (least === 1) expect(watched.loads).toBeGreaterThan(4);
    else expect(watched.loads).toBe(2);
    for (const [key, found] of decoded) {
      const wanted = whole.get(key)!;
      expect([found.samples, found.tokens]).toEqual([wanted.samples, wanted.tokens]);
      for (const r of [reductions.range, reductions.average])
        for (const end of ['min', 'max'] as const) expect(near(found.get(r)![end], wanted.get(r)![end])).toBeLessThan(1e-4);
      for (const r of [reductions.mean, reductions.meanAbs]) expect(near(found.get(r)!, wanted.get(r)!)).toBeLessThan(1e-4);
      expect(near(found.get(reductions.rms)!.rms, wanted.get(reductions.rms)!.rms)).toBeLessThan(1e-4);
    }
  });
});

describe('samples stay whole', () => {
  const inputs = (...more: readonly ModelInput[]): ModelInputs =>
    modelInputs([
      { name: 'input_ids', dtype: 'i64', shape: ['batch', 'seq'] },
      { name: 'past_key_values.0.key', dtype: 'f32', shape: ['batch', 2, 'past', 4] },
      ...more,
    ]);
  const outputs = ['logits', 'present.0.key'];
  const samples: readonly Feeds[] = [{ input_ids: i64([1, 4], [1, 2, 3, 4]), 'past_key_values.0.key': f32([1, 2, 0, 4], []) }];
  test('but not those of a model with caches', () => {
    const { at, decoding } = withDecoding(samples, inputs(), outputs, 2);
    expect(at(0)).toMatchObject({ input_ids: i64([1, 2], [1, 2]) });
    expect(decoding!.carry).toEqual({ 'present.0.key': 'past_key_values.0.key' });
    expect(decoding!.steps(0)).toEqual([{ input_ids: i64([1, 1], [3]) }, { input_ids: i64([1, 1], [4]) }]);
  });
  test('a token at least goes in at once', () => {
    const { at, decoding } = withDecoding(samples, inputs(), outputs, 9);
    expect([at(0), decoding!.steps(0).length]).toEqual([expect.objectContaining({ input_ids: i64([1, 1], [1]) }), 3]);
  });
  test.each([
    ['where none are wanted', inputs(), outputs, 0],
    ['where no cache comes out', inputs(), ['logits'], 2],
    ['where a number counts tokens', inputs({ name: 'past_length', dtype: 'i64', shape: [] }), outputs, 2],
    ['where something else goes with the tokens', inputs({ name: 'bias', dtype: 'f32', shape: ['batch', 'seq'] }), outputs, 2],
    ['where a branch reads no caches', inputs({ name: 'use_cache_branch', dtype: 'bool', shape: [1] }), outputs, 2],
  ])('%s', (_, given, names, count) => expect(withDecoding(samples, given, names, count)).toBe(samples));
});
