import { fail } from '../../ir/diagnostics.ts';
import { logSumExp } from './perplexity.ts';

interface Logits {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** KL divergence and agreement over tokens, summed over any number of windows. */
export class Divergence {
  #tokens = 0;
  #kl = 0;
  #agreed = 0;
  /** Adds every token of a window. */
  add(float: Logits, model: Logits): void {
    const vocabulary = float.shape.at(-1)!;
    if (float.data.length !== model.data.length) fail('QC2103', 'the two models give logits of different shapes');
    for (let start = 0; start < float.data.length; start += vocabulary) {
      this.#addToken(float.data.subarray(start, start + vocabulary), model.data.subarray(start, start + vocabulary));
    }
  }
  /** `kl`: mean over tokens of KL(float || model), in nats; `agreement`: share of tokens with the same likeliest successor. */
  get figures(): { readonly kl: number; readonly agreement: number } {
    return { kl: this.#kl / this.#tokens, agreement: this.#agreed / this.#tokens };
  }
  #addToken(p: Float32Array, q: Float32Array): void {
    const [sumP, sumQ] = [logSumExp(p), logSumExp(q)];
    let kl = 0;
    for (let i = 0; i < p.length; i++) {
      const log = p[i]! - sumP;
      const share = Math.exp(log);
      if (share > 0) kl += share * (log - (q[i]! - sumQ));
    }
    this.#kl += kl;
    this.#tokens++;
    if (largest(p) === largest(q)) this.#agreed++;
  }
}

function largest(row: Float32Array): number {
  let at = 0;
  for (let i = 1; i < row.length; i++) if (row[i]! > row[at]!) at = i;
  return at;
}
