import { writeFileSync } from 'node:fs';
import { lookInto } from '../../src/model.ts';
import { samplesFor, type DataOptions } from '../../src/model-samples.ts';
import { OrtExecutor } from '../../src/runtime/ort-executor.ts';
import type { HostTensor } from '../../passes/index.ts';

/** Writes `count` sentences of a text, evenly spread, one a line of JSON. */
export function writeSentences(text: string, count: number, file: string): void {
  const all = text.match(/[A-Z][^.!?\n]{40,200}[.!?](?=\s)/g) ?? [];
  const step = Math.floor(all.length / count);
  if (step === 0) throw new Error(`the text has ${all.length} sentences, and ${count} are wanted`);
  const chosen = Array.from({ length: count }, (_, i) => all[i * step]!);
  writeFileSync(file, chosen.map((sentence) => JSON.stringify({ text: sentence })).join('\n'));
}

/** The cosine between the embeddings that two models give, for each sentence: the means over its tokens. */
export async function cosines(float: string, model: string, data: DataOptions): Promise<readonly number[]> {
  const executor = new OrtExecutor();
  try {
    const samples = await samplesFor(lookInto(float), data);
    const [wanted, found] = [await executor.openFile(float), await executor.openFile(model)];
    const all: number[] = [];
    for (const sample of samples) all.push(cosine(meanOverTokens(await wanted.run(sample)), meanOverTokens(await found.run(sample))));
    return all;
  } finally {
    await executor.close();
  }
}

export const mean = (numbers: ArrayLike<number>): number => Array.from(numbers).reduce((a, b) => a + b, 0) / numbers.length;

/** [1, seq, channels] to [channels]. */
function meanOverTokens(outputs: Readonly<Record<string, HostTensor>>): Float64Array {
  const hidden = Object.values(outputs).find((t) => t.shape.length === 3 && t.data instanceof Float32Array);
  if (!hidden) throw new Error('the model gives no hidden states [batch, seq, channels]');
  const channels = hidden.shape[2]!;
  const sums = new Float64Array(channels);
  (hidden.data as Float32Array).forEach((x, i) => (sums[i % channels]! += x / hidden.shape[1]!));
  return sums;
}

function cosine(a: Float64Array, b: Float64Array): number {
  const dot = (x: Float64Array, y: Float64Array): number => x.reduce((sum, v, i) => sum + v * y[i]!, 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}
