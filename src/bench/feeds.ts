import { fail, type Graph, type Value } from '../../ir/index.ts';
import type { Feeds } from '../../passes/index.ts';
import { modelInputs, type ModelInputs } from '../data/inputs.ts';
import { pastIn } from '../data/implied.ts';
import { checkPositions } from '../data/length.ts';
import { checkFeedable, inputsOf, syntheticFeeds, type Lengths } from '../model.ts';
import { positionsOf } from '../positions.ts';

/** Made-up inputs of one sequence. */
export interface BenchInput {
  readonly feeds: Feeds;
  /** How many tokens go in; null for a model that takes no sequence. */
  readonly tokens: number | null;
}

/** Inputs of these lengths. QC2103 when the model takes another number of tokens, QC2111 when it has fewer positions. */
export function benchInput(graph: Graph, lengths: Lengths): BenchInput {
  checkFeedable(graph);
  const feeds = syntheticFeeds(graph, lengths);
  const inputs = modelInputs(inputsOf(graph));
  const input = graph.inputs.find((v) => takesTokens(v, inputs));
  if (!input) return { feeds, tokens: null };
  const tokens = feeds[input.name]?.shape[1] ?? lengths.sequence;
  if (tokens !== lengths.sequence)
    fail('QC2103', `input "${input.name}" of the model takes ${tokens} tokens, not ${lengths.sequence}`, undefined, {
      hint: `--seq ${tokens}`,
    });
  checkPositions(tokens + pastIn(feeds, inputs), positionsOf(graph, inputs), (most) => `--seq and --past are at most ${most} together`);
  return { feeds, tokens };
}

/** Ids of tokens, or their embeddings [batch, seq, channels]. */
function takesTokens({ name, type }: Value, { tokens }: ModelInputs): boolean {
  const shape = type?.shape ?? [];
  return name === tokens?.name || (shape.length === 3 && typeof shape[1] !== 'number' && typeof shape[2] === 'number');
}
