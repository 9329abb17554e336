import { fit } from './fit.ts';
import { requireTokens } from './inputs.ts';
import { batchOf, checkPositions, sampleLength, shorterSeq } from './length.ts';
import { inData, readText } from './read-file.ts';
import type { SampleOptions, Source } from './source.ts';
import { checkTokens, tokenizerFor } from './tokens.ts';

/** Windows of `seq` tokens, one after the other through all the texts; what is left at the end is dropped. */
export async function textSource(files: readonly string[], options: SampleOptions): Promise<Source> {
  const at = inData(files.join(' '));
  const tokens = requireTokens(options.inputs, at);
  const [seq, batch] = [sampleLength(options), batchOf(tokens)];
  checkPositions(seq, options.positions ?? null, shorterSeq, at);
  const parts: Int32Array[] = [];
  for (const file of files) parts.push(await tokensOf(file, options));
  const ids = joined(parts);
  const size = seq * batch;
  return {
    samples: Array.from({ length: Math.floor(ids.length / size) }, (_, i) => () => {
      const data = ids.subarray(i * size, (i + 1) * size);
      return fit({ [tokens.name]: { dtype: 'i32', shape: [batch, seq], data } }, options.inputs, at);
    }),
    summary: `${files.join(' ')}: ${ids.length} tokens, ${windowsText(Math.floor(ids.length / seq), seq)}${batchText(batch)}`,
    seqFor: (samples) => Math.floor(ids.length / (samples * batch)),
  };
}

const windowsText = (count: number, seq: number): string =>
  count === 0 ? `less than one window of ${seq}` : `${count} ${count === 1 ? 'window' : 'windows'} of ${seq}`;

const batchText = (batch: number): string => (batch === 1 ? '' : `; the model takes ${batch} windows at a time`);

async function tokensOf(file: string, options: SampleOptions): Promise<Int32Array> {
  const at = inData(file);
  const tokenizer = tokenizerFor(options, at);
  const ids = tokenizer.encode(await readText(file), { addSpecialTokens: options.addSpecialTokens ?? false });
  checkTokens(ids, options.vocabulary, at);
  return Int32Array.from(ids);
}

function joined(parts: readonly Int32Array[]): Int32Array {
  const all = new Int32Array(parts.reduce((n, part) => n + part.length, 0));
  let end = 0;
  for (const part of parts) {
    all.set(part, end);
    end += part.length;
  }
  return all;
}
