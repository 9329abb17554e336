import { fail, type Location } from '../../ir/diagnostics.ts';
import type { SampleOptions } from './source.ts';
import type { TextTokenizer } from './tokenizer.ts';

/** The tokenizer that text needs; QC2102 without one. */
export const tokenizerFor = ({ tokenizer }: Pick<SampleOptions, 'tokenizer'>, at: Location): TextTokenizer =>
  tokenizer ?? fail('QC2102', 'text needs a tokenizer', at, { hint: "give the model's tokenizer.json with --tokenizer" });

/** Throws QC2104 for the first id that is negative or outside a known vocabulary. */
export function checkTokens(ids: ArrayLike<number | bigint>, vocabulary: number | null | undefined, at: Location): void {
  const limit = vocabulary ?? Infinity;
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!;
    if (id >= 0 && id < limit) continue;
    const bound = limit === Infinity ? 'ids start at 0' : `the vocabulary of the model has ${limit}, ids 0 to ${limit - 1}`;
    fail('QC2104', `token ${id} at position ${i}: ${bound}`, at, { hint: 'use the tokenizer that came with this model' });
  }
}
