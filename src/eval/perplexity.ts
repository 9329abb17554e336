import { fail } from '../../ir/index.ts';
import type { Feeds, HostTensor, Program } from '../../passes/index.ts';

export interface Perplexity {
  /** exp of the mean over windows of the mean next-token loss. */
  readonly perplexity: number;
  /** Tokens predicted. */
  readonly tokens: number;
  readonly windows: number;
}

/** The result that holds the logits. */
export function logitsOf(outputs: Feeds): HostTensor {
  const logits = outputs['logits'] ?? Object.values(outputs).find((t) => t.dtype === 'f32' && t.shape.length === 3);
  return logits && logits.data instanceof Float32Array ? logits : fail('QC2103', 'the model gives no f32 logits [batch, seq, vocabulary]');
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
    const ids = feeds['input_ids'] ?? fail('QC2103', 'perplexity needs a model with input_ids');
    const logits = logitsOf(await program.run(feeds));
    const count = ids.data.length - 1;
    sum += nextTokenLoss(logits, ids) / count;
    tokens += count;
    onWindow(i + 1);
  }
  return { perplexity: Math.exp(sum / windows.length), tokens, windows: windows.length };
}

/** The sum over a window's tokens, but the first, of -log p(token | tokens before it). */
export function nextTokenLoss(logits: HostTensor, ids: HostTensor): number {
  const vocabulary = logits.shape.at(-1)!;
  const data = logits.data as Float32Array;
  let loss = 0;
  for (let t = 0; t + 1 < ids.data.length; t++) {
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
