import { fit } from './fit.ts';
import { inData, readText } from './read-file.ts';
import type { SampleOptions, Source } from './source.ts';
import { checkTokens, tokenizerFor } from './tokens.ts';

/** Windows of `seq` tokens, one after the other through all the texts; what is left at the end is dropped. */
export async function textSource(files: readonly string[], options: SampleOptions): Promise<Source> {
  const parts: Int32Array[] = [];
  for (const file of files) parts.push(await tokensOf(file, options));
  const ids = joined(parts);
  const { seq, inputs } = options;
  const windows = Math.floor(ids.length / seq);
  const at = inData(files.join(' '));
  return {
    samples: Array.from({ length: windows }, (_, i) => () => {
      const data = ids.subarray(i * seq, (i + 1) * seq);
      return fit({ input_ids: { dtype: 'i32', shape: [1, seq], data } }, inputs, at);
    }),
    summary: `${files.join(' ')}: ${ids.length} tokens, ${windows} windows of ${seq}`,
  };
}

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
