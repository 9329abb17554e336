import { fail } from '../../ir/index.ts';
import { sizeOf } from '../../ir/types.ts';
import type { Feeds, HostTensor, Program } from '../../passes/index.ts';
import { modelInputs } from '../data/inputs.ts';
import { floatElements } from './float-elements.ts';

export interface Perplexity {
  /** exp of the mean over windows of the mean next-token loss. */
  readonly perplexity: number;
  /** Tokens predicted. */
  readonly tokens: number;
  readonly windows: number;
}

/** The result that holds the logits. */
function logitsOf(outputs: Feeds): HostTensor {
  const logits = outputs['logits'] ?? Object.values(outputs).find((t) => floatElements(t) !== null && t.shape.length === 3);
  const data = floatElements(logits);
  return logits && data ? { ...logits, data } : fail('QC2103', 'the model gives no logits [batch, seq, vocabulary] of f32 or f16');
}

/** Scores every window alone: the mean over its tokens, but the first, of -log p(token | tokens before it). */
export async function perplexity(
  program: Program,
  windows: readonly Feeds[],
  onWindow: (done: number) => void = () => {},
): Promise<Perplexity> {
  let sum = 0;
  let tokens = 0;
  for (const [i, feeds] of windows.entries()) {
    const ids = idsIn(feeds);
    const logits = logitsOf(await program.run(feeds));
    const count = predictedIn(ids);
    sum += nextTokenLoss(logits, ids) / count;
    tokens += count;
    onWindow(i + 1);
  }
  return { perplexity: Math.exp(sum / windows.length), tokens, windows: windows.length };
}

/** The arrays of a sample tell which of them holds the tokens as well as the inputs of the model do. */
function idsIn(feeds: Feeds): HostTensor {
  const { tokens } = modelInputs(Object.entries(feeds).map(([name, { dtype, shape }]) => ({ name, dtype, shape })));
  return (tokens && feeds[tokens.name]) ?? fail('QC2103', 'perplexity needs a model with an input for tokens');
}

/** Tokens that a sample predicts: all of every sequence but the first. */
export const predictedIn = ({ shape }: HostTensor): number =>
  sizeOf(shape.slice(0, -1)) * (shape.at(-1)! - 1) || fail('QC2106', 'a sequence of one token predicts none: perplexity needs two');

/** The sum over the tokens of every sequence, but the first, of -log p(token | tokens before it). */
export function nextTokenLoss(logits: HostTensor, ids: HostTensor): number {
  const vocabulary = logits.shape.at(-1)!;
  const data = logits.data as Float32Array;
  const length = ids.shape.at(-1)!;
  let loss = 0;
  for (let t = 0; t + 1 < ids.data.length; t++) {
    if ((t + 1) % length === 0) continue;
    const row = data.subarray(t * vocabulary, (t + 1) * vocabulary);
    loss += logSumExp(row) - row[Number(ids.data[t + 1])]!;
  }
  return loss;
}

/** log of the sum of e^x, shifted by the largest x so that nothing overflows. */
export function logSumExp(row: Float32Array): number {
  let most = -Infinity;
  for (const x of row) if (x > most) most = x;
  let sum = 0;
  for (const x of row) sum += Math.exp(x - most);
  return most + Math.log(sum);
}
