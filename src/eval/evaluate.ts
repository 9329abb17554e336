import { fail, type Graph } from '../../ir/index.ts';
import { blocks, runToLast, type Feeds, type HostTensor, type SampleProgram, type SweepContext } from '../../passes/index.ts';
import { modelInputs, type ModelInput } from '../data/inputs.ts';
import { checkFeedable, inputsOf, lookInto, vocabularyOf } from '../model.ts';
import type { KernelChoice, KernelUse } from '../runtime/kernel-use.ts';
import { OrtExecutor } from '../runtime/ort-executor.ts';
import { fileSpool } from '../runtime/spool.ts';
import { firstRun, samplesFor, type DataOptions } from '../model-samples.ts';
import { Divergence } from './divergence.ts';
import { logitsName } from './logits.ts';
import { nextTokenLoss, predictedIn } from './perplexity.ts';
import { siteErrors, type SiteError } from './site-errors.ts';
import { Noise } from './noise.ts';
import { floatElements } from './float-elements.ts';

export interface EvaluateOptions {
  readonly model: string;
  /** `samples` are the windows; all of the data by default. */
  readonly data: DataOptions;
  /** The float model to compare with. */
  readonly against?: string | undefined;
  readonly threads?: number | undefined;
  /** Bytes of constants in a block of a model that does not run as a whole, at least: 256 MB by default. A smaller model runs as a whole. */
  readonly blockBytes?: number | undefined;
  /** `off`: function bodies stand in for the library of kernels; it is used by default. */
  readonly kernels?: KernelChoice | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number, what: string) => void) | undefined;
}

/** What `evaluate` found; the figures of logits are missing for a model without any. */
export interface Evaluation {
  /** exp of the mean over windows of the mean next-token loss. */
  readonly perplexity?: number;
  /** Tokens predicted. */
  readonly tokens?: number;
  readonly windows: number;
  /** How the operators of the library of kernels ran; null for a model without any. */
  readonly kernels: KernelUse | null;
  readonly against?: Comparison;
}

export interface Comparison {
  /** Of the float model. */
  readonly perplexity?: number;
  /** Mean over tokens of KL(float || model), in nats. */
  readonly kl?: number;
  /** Share of tokens after which both models hold the same one for the likeliest. */
  readonly agreement?: number;
  /** Of a model without logits. */
  readonly outputs?: readonly OutputError[];
  /** Of the float model. */
  readonly kernels: KernelUse | null;
  readonly sites: readonly SiteError[];
}

export interface OutputError {
  readonly name: string;
  /** In dB; null when equal. */
  readonly sqnr: number | null;
  readonly cosine: number;
}

/** Windows on which the values inside the models are compared. */
const siteWindows = 4;

const usualBlockBytes = 256 * 2 ** 20;

/** Windows whose activations between two blocks are on disk at a time. */
const batch = 128;

/**
 * Measures a model, and how far it is from another one. Large models run block by block, others from their file as they are; of what windows
 * give only sums are kept.
 */
export async function evaluate(options: EvaluateOptions): Promise<Evaluation> {
  const least = options.blockBytes ?? usualBlockBytes;
  const model = subjectOf(options.model, least);
  const reference = options.against === undefined ? null : subjectOf(options.against, least);
  const [graph, float] = [model.graph, reference && reference.graph];
  if (float) checkInputs(graph, float);
  checkFeedable(graph);
  const executor = executorFor(options);
  try {
    const { tokens } = modelInputs(inputsOf(graph), options.data);
    const windows = await samplesFor(graph, options.data);
    const ctx = sweepContext(executor, options);
    const vocabulary = tokens && (vocabularyOf(graph, tokens) ?? (float && vocabularyOf(float, tokens)));
    const seen = new Seen(tokens, (outputs) => tokens && logitsName(outputs, vocabulary));
    const inBlocks = [model, reference].some((m) => m && m.blocksOf !== null);
    // The first window by itself, so that a model that cannot be measured is refused at once.
    for (let start = 0, end = inBlocks ? 1 : windows.length; start < windows.length; [start, end] = [end, end + batch])
      await compareOn(windows.slice(start, end), [model, reference], executor, ctx, (i, feeds, ours, theirs) => {
        seen.take(feeds, ours, theirs);
        options.onProgress?.(start + i + 1, windows.length, 'windows');
      });
    const sites = float && (await siteErrors(float, graph, windows.slice(0, siteWindows), { ...options, tokens, ctx, least }));
    const against = sites && float ? { against: { ...seen.comparison(), kernels: executor.kernelsOf(float), sites } } : {};
    return { ...seen.own(), windows: windows.length, kernels: executor.kernelsOf(graph), ...against };
  } finally {
    await executor.close();
  }
}

const executorFor = ({ threads, kernels }: EvaluateOptions): OrtExecutor =>
  new OrtExecutor({ ...(threads === undefined ? {} : { threads }), ...(kernels === undefined ? {} : { kernels }) });

const sweepContext = (executor: OrtExecutor, { signal }: EvaluateOptions): SweepContext => ({
  services: { executor, spool: fileSpool },
  signal: signal ?? new AbortController().signal,
  progress: () => {},
});

/** A model that is measured. */
interface Subject {
  readonly path: string;
  readonly graph: Graph;
  /** The least bytes of a block; null for a model that runs as a whole. */
  readonly blocksOf: number | null;
}

function subjectOf(path: string, least: number): Subject {
  const graph = lookInto(path);
  return { path, graph, blocksOf: blocks(graph, least).length > 1 ? least : null };
}

/** A model ready to run on windows. */
async function start(
  { path, graph, blocksOf }: Subject,
  windows: readonly Feeds[],
  executor: OrtExecutor,
  ctx: SweepContext,
): Promise<SampleProgram> {
  if (blocksOf !== null) return runToLast(graph, windows, ctx, blocksOf);
  const program = await executor.openFile(path);
  return { run: (i) => program.run(windows[i]!), close: () => program.close() };
}

/** Hands on what both models give on each window; null for a float model that is not there. */
async function compareOn(
  windows: readonly Feeds[],
  [model, reference]: readonly [Subject, Subject | null],
  executor: OrtExecutor,
  ctx: SweepContext,
  take: (window: number, feeds: Feeds, ours: Feeds, theirs: Feeds | null) => void,
): Promise<void> {
  const ours = await firstRun(() => start(model, windows, executor, ctx));
  try {
    const theirs = reference && (await start(reference, windows, executor, ctx));
    try {
      for (const [i, feeds] of windows.entries()) {
        ctx.signal.throwIfAborted();
        const outputs = i === 0 ? await firstRun(() => ours.run(i)) : await ours.run(i);
        take(i, feeds, outputs, theirs && (await theirs.run(i)));
      }
    } finally {
      await theirs?.close();
    }
  } finally {
    await ours.close();
  }
}

function checkInputs(graph: Graph, float: Graph): void {
  const [a, b] = [graph, float].map((g) =>
    g.inputs
      .map((v) => v.name)
      .sort()
      .join(', '),
  );
  if (a !== b) fail('QC2103', 'the two models have different inputs', undefined, { notes: [`the model: ${a}`, `the float model: ${b}`] });
}

function noLogits(inputs: Feeds, outputs: Feeds, tokens: ModelInput | null): never {
  return fail(
    'QC2103',
    'perplexity needs an input for tokens and logits [batch, seq, vocabulary], which this model does not have',
    undefined,
    {
      notes: [`inputs: ${Object.keys(inputs).join(', ')}; outputs: ${Object.keys(outputs).join(', ')}`],
      hint: `${tokens ? '' : 'name the input that takes tokens with --input, or '}compare it with its float original: --against FLOAT.onnx`,
    },
  );
}

/** The sums over windows. */
class Seen {
  readonly #input: ModelInput | null;
  readonly #find: (outputs: Feeds) => string | null;
  #logits: string | null = null;
  readonly #divergence = new Divergence();
  readonly #outputs = new Map<string, Noise>();
  #windows = 0;
  #tokens = 0;
  #loss = 0;
  #floatLoss = 0;
  /** `find` gives the name of the logits among outputs; null where there are none. */
  constructor(input: ModelInput | null, find: (outputs: Feeds) => string | null) {
    this.#input = input;
    this.#find = find;
  }
  take(feeds: Feeds, model: Feeds, float: Feeds | null): void {
    if (this.#windows++ === 0) this.#logits = this.#find(model);
    if (this.#logits === null && !float) noLogits(feeds, model, this.#input);
    if (this.#input === null || this.#logits === null) return this.#takeOutputs(model, float ?? {});
    const ids = feeds[this.#input.name]!;
    const count = predictedIn(ids);
    const logits = this.#logitsIn(model);
    this.#tokens += count;
    this.#loss += nextTokenLoss(logits, ids) / count;
    if (!float) return;
    const reference = this.#logitsIn(float);
    this.#floatLoss += nextTokenLoss(reference, ids) / count;
    this.#divergence.add(reference, logits);
  }
  own(): Pick<Evaluation, 'perplexity' | 'tokens'> {
    return this.#logits === null ? {} : { perplexity: Math.exp(this.#loss / this.#windows), tokens: this.#tokens };
  }
  comparison(): Omit<Comparison, 'kernels' | 'sites'> {
    if (this.#logits !== null) return { perplexity: Math.exp(this.#floatLoss / this.#windows), ...this.#divergence.figures };
    return { outputs: [...this.#outputs].map(([name, noise]) => ({ name, sqnr: noise.sqnr, cosine: noise.cosine })) };
  }
  #logitsIn(outputs: Feeds): HostTensor & { readonly data: Float32Array } {
    const logits = outputs[this.#logits!];
    const data = floatElements(logits);
    return logits && data ? { ...logits, data } : fail('QC2103', `a model has no output ${this.#logits} of f32 or f16`);
  }
  #takeOutputs(model: Feeds, float: Feeds): void {
    for (const [name, tensor] of Object.entries(float)) {
      const [wanted, found] = [floatElements(tensor), floatElements(model[name])];
      if (!wanted || !found) continue;
      if (!this.#outputs.has(name)) this.#outputs.set(name, new Noise());
      this.#outputs.get(name)!.add(wanted, found);
    }
  }
}
