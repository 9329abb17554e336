import { fail, QcError, sizeOf, type Graph } from '../ir/index.ts';
import { movedCaches } from '../passes/index.ts';
import { loadSamples, modelInputs, type InputNames, type Sample } from './data/samples.ts';
import { loadTokenizer } from './data/tokenizer.ts';
import { checkFeedable, inputsOf, vocabularyOf } from './model.ts';
import { positionsOf } from './positions.ts';

/** Where samples come from. */
export interface DataOptions extends InputNames {
  /** `.txt`, `.jsonl` or `.npz`. */
  readonly files: readonly string[];
  /** Path of a `tokenizer.json`; needed for text. */
  readonly tokenizer?: string | undefined;
  /** Tokens of a sample; by default what the model is fixed to, or else 256 or as many as it has positions for. */
  readonly seq?: number | undefined;
  /** How many samples; all by default, of which a compile takes at most 128. */
  readonly samples?: number | undefined;
  /** Chooses windows at random; the first ones by default. */
  readonly seed?: number | undefined;
  readonly addSpecialTokens?: boolean | undefined;
}

/** The samples that options name, at most `most` if they name no number, fitted to a graph's inputs. */
export async function samplesFor(graph: Graph, data: DataOptions, most?: number): Promise<readonly Sample[]> {
  checkFeedable(graph);
  const inputs = modelInputs(inputsOf(graph), data);
  const samples = await loadSamples({
    files: data.files,
    tokenizer: data.tokenizer === undefined ? null : await loadTokenizer(data.tokenizer),
    ...(data.seq === undefined ? {} : { seq: data.seq }),
    ...(data.samples === undefined ? {} : { samples: data.samples }),
    ...(most === undefined ? {} : { most }),
    ...(data.seed === undefined ? {} : { seed: data.seed }),
    addSpecialTokens: data.addSpecialTokens ?? false,
    inputs,
    vocabulary: vocabularyOf(graph, inputs.tokens),
    positions: positionsOf(graph, inputs),
  });
  for (const sample of samples) refuseFilled(graph, sample);
  return samples;
}

/** Throws QC2103 for tokens in a cache that the model keeps in another basis than the one that filled it. */
function refuseFilled(graph: Graph, sample: Sample): void {
  const filled = movedCaches(graph.metadata).find(({ past }) => sizeOf(sample[past]?.shape ?? [0]) > 0);
  if (filled)
    fail('QC2103', `the data has tokens in "${filled.past}", a cache that lies in another basis in this model`, undefined, {
      hint: 'leave the caches out, so that they start empty',
    });
}

/** The input that marks padding: the one that the user names, or else the usual one; null when the model has none. */
export const maskOf = (graph: Graph, names: InputNames = {}): string | null => modelInputs(inputsOf(graph), names).mask?.name ?? null;

/** Runs a model on data for the first time. What ONNX Runtime refuses then may be the length of the sample, and the error says so. */
export async function firstRun<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof QcError && error.code === 'QC5001')
      throw new QcError(error.diagnostics.map((d) => ({ ...d, hint: d.hint ?? longSample })));
    throw error;
  }
}

const longSample = 'if the model has fewer positions than the sample has tokens, lower --seq';
