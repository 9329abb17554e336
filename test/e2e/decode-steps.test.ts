import { afterAll, expect, test } from '@jest/globals';
import { cloneGraph, type Graph } from '../../ir/index.ts';
import { largestDifference, movedCaches, type Feeds } from '../../passes/index.ts';
import { modelInputs, type ModelInputs } from '../../src/data/inputs.ts';
import { carriedCaches } from '../../src/generate/caches.ts';
import { feedsFor } from '../../src/generate/feeds.ts';
import { inputsOf, openModel } from '../../src/model.ts';
import { families, familyPath, heldBy, unrunnable } from '../support/families.ts';
import { fusingExecutor, i64, randomFeed, runPipeline } from '../support/run.ts';

const executor = fusingExecutor();
afterAll(() => executor.close());

const transformed =
  'raise,fold-constants,tie-weights,open-caches,mark-sites{scheme=rptq-w4a4},observe,calibrate,' +
  'rptq{r1=4 r2=2 r3=2 r4=4 r5=4},fold-channels,os+{threshold=1},fold-channels,close-caches,dead-code';

/** Models with caches, but for those whose caches are under an If. */
const cached = families.filter((name) => heldBy(name).caches > 0 && !name.endsWith('merged') && !unrunnable.test(name));

/**
 * How many of the four caches lie in another basis: those that an encoder-decoder's first step fills stay, and keys where a norm stands between
 * them and their weight, which stores no order in every head. Weights that are quantized already take nothing, nor does Falcon's split of packed heads.
 */
const movedIn = (name: string): number => (/with_past|genai4|falcon/.test(name) ? 0 : /qwen3|gemma3/.test(name) ? 2 : 4);

/** The mask and the caches of an encoder of 5 tokens, which a decoder reads and never gives back. */
const ofEncoder = ({ all }: ModelInputs): Feeds =>
  Object.fromEntries(
    all.flatMap(({ name, shape }, i) => {
      if (name === 'encoder_attention_mask') return [[name, i64([1, 5], [1, 1, 1, 1, 1])] as const];
      return /\.encoder\./.test(name) ? [[name, randomFeed([1, Number(shape![1]), 5, Number(shape![3])], 50 + i)] as const] : [];
    }),
  );

/** The model with products that compute in float: those that round their input to 8 bits make a step of a difference in the last bit. */
function opened(name: string): Graph {
  const graph = openModel(familyPath(name));
  for (const node of graph.nodes) {
    const { accuracy_level: level, ...others } = Object.fromEntries(node.attributes);
    if (level) graph.setAttributes(node, others);
  }
  return graph;
}

const tokenAt = (seed: number, i: number): number => 3 + ((seed * 31 + i * 7) % 30);
const [prompt, decoded] = [6, 5];

/** What a prefill and some decode steps give, caches carried from step to step; the last caches too. */
async function decode(graph: Graph, inputs: ModelInputs, others: Feeds): Promise<readonly Feeds[]> {
  const carry = carriedCaches(
    inputs,
    graph.outputs.map((v) => v.name),
  );
  expect(Object.keys(carry)).not.toEqual([]);
  const program = await executor.load(graph);
  const ids = Array.from({ length: prompt + decoded }, (_, i) => tokenAt(5, i));
  // A decoder that takes one token at a time goes through the prompt so.
  const first = inputs.tokens!.shape?.[1] === 1 ? 1 : prompt;
  const starts = [0, ...Array.from({ length: prompt + decoded - first }, (_, k) => first + k)];
  const found: Feeds[] = [];
  for (const [k, past] of starts.entries()) {
    const feeds = feedsFor(ids.slice(past, starts[k + 1] ?? past + 1), past, inputs, carry, others);
    found.push((await program.step(feeds, carry)).outputs);
  }
  await program.close();
  return found;
}

test.each(cached)('%s: after rptq, os+ and folding, a prefill and five decode steps give what they did', async (name) => {
  const before = opened(name);
  const inputs = modelInputs(inputsOf(before));
  const others = ofEncoder(inputs);
  const samples = [1, 2].map((seed) =>
    feedsFor(
      Array.from({ length: inputs.tokens!.shape?.[1] === 1 ? 1 : 8 }, (_, i) => tokenAt(seed, i)),
      0,
      inputs,
      {},
      others,
    ),
  );
  const after = cloneGraph(before);
  await runPipeline(executor, after, transformed, { samples });
  const [wanted, found] = [await decode(before, inputs, others), await decode(after, inputs, others)];
  expect(movedCaches(after.metadata)).toHaveLength(movedIn(name));
  expect(wanted.length).toBeGreaterThan(decoded);
  for (const [k, outputs] of wanted.entries()) expect(largestDifference(outputs, found[k]!)).toBeLessThan(1e-4);
});
