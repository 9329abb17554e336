import type { Graph } from '../ir/index.ts';
import { loadSamples, type Sample } from './data/samples.ts';
import { loadTokenizer } from './data/tokenizer.ts';
import { defaults } from './defaults.ts';
import { inputsOf, vocabularyOf } from './model.ts';

/** Where samples come from. */
export interface DataOptions {
  /** `.txt`, `.jsonl` or `.npz`. */
  readonly files: readonly string[];
  /** Path of a `tokenizer.json`; needed for text. */
  readonly tokenizer?: string | undefined;
  /** Tokens of a window of text; 256 by default. */
  readonly seq?: number | undefined;
  /** How many samples; a compile takes 32 by default, an evaluation all. */
  readonly samples?: number | undefined;
  /** Chooses windows at random; the first ones by default. */
  readonly seed?: number | undefined;
  readonly addSpecialTokens?: boolean | undefined;
}

/** The samples that options name, fitted to a graph's inputs. */
export async function samplesFor(graph: Graph, data: DataOptions): Promise<readonly Sample[]> {
  return loadSamples({
    files: data.files,
    tokenizer: data.tokenizer === undefined ? null : await loadTokenizer(data.tokenizer),
    seq: data.seq ?? defaults.seq,
    ...(data.samples === undefined ? {} : { samples: data.samples }),
    ...(data.seed === undefined ? {} : { seed: data.seed }),
    addSpecialTokens: data.addSpecialTokens ?? false,
    inputs: inputsOf(graph),
    vocabulary: vocabularyOf(graph),
  });
}
