import { fail, type Graph, type Value } from '../../ir/index.ts';
import type { Feeds } from '../../passes/index.ts';
import { syntheticFeeds, type Lengths } from '../model.ts';

/** Made-up inputs of one sequence. */
export interface BenchInput {
  readonly feeds: Feeds;
  /** How many tokens go in; null for a model that takes no sequence. */
  readonly tokens: number | null;
}

/** Inputs of these lengths. QC2103 when the model takes another number of tokens. */
export function benchInput(graph: Graph, lengths: Lengths): BenchInput {
  const feeds = syntheticFeeds(graph, lengths);
  const input = graph.inputs.find(takesTokens);
  if (!input) return { feeds, tokens: null };
  const tokens = feeds[input.name]?.shape[1] ?? lengths.sequence;
  if (tokens !== lengths.sequence)
    fail('QC2103', `input "${input.name}" of the model takes ${tokens} tokens, not ${lengths.sequence}`, undefined, {
      hint: `--seq ${tokens}`,
    });
  return { feeds, tokens };
}

/** Ids of tokens, or their embeddings [batch, seq, channels]. */
function takesTokens({ name, type }: Value): boolean {
  const shape = type?.shape ?? [];
  return name === 'input_ids' || (shape.length === 3 && typeof shape[1] !== 'number' && typeof shape[2] === 'number');
}
