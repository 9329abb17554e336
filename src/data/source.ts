import type { Feeds } from '../../passes/infra/executor.ts';
import type { ModelInputs } from './inputs.ts';
import type { TextTokenizer } from './tokenizer.ts';

/** Arrays by input name for one run of the model, of batch 1 unless the model's own batch is fixed otherwise. */
export type Sample = Feeds;

export interface SampleOptions {
  /** `.txt`, `.jsonl` and `.npz` files. The windows of all texts come first, then the other samples, both in this order. */
  readonly files: readonly string[];
  /** Needed for text only. */
  readonly tokenizer?: TextTokenizer | null;
  /** Tokens of a sample: windows of text have exactly so many, lines of `.jsonl` at most; arrays of `.npz` stay as they are. */
  readonly seq?: number | undefined;
  /** How many samples are wanted; all of them by default. */
  readonly samples?: number;
  /** The most samples that are taken where none are asked for by number. */
  readonly most?: number;
  /** Chooses the samples at random; without it they are the first ones. */
  readonly seed?: number;
  readonly addSpecialTokens?: boolean;
  readonly inputs: ModelInputs;
  /** The rows of the embedding table, if known. */
  readonly vocabulary?: number | null;
  /** Tokens of the longest sequence that the model has positions for, if known. */
  readonly positions?: number | null;
}

/** What one kind of file gives: samples that are made when chosen, and a line on how many there are. */
export interface Source {
  readonly samples: readonly (() => Sample)[];
  readonly summary: string;
  /** The tokens of a sample with which a text would give so many samples; null for files whose samples have their own length. */
  readonly seqFor: ((samples: number) => number) | null;
}
