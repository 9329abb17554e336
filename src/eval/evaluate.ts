import { fail, type Graph } from '../../ir/index.ts';
import { runToLast, type Feeds, type HostTensor, type SampleProgram, type SweepContext } from '../../passes/index.ts';
import { modelInputs, type ModelInput } from '../data/inputs.ts';
import { checkFeedable, inputsOf, lookInto, vocabularyOf } from '../model.ts';
import type { KernelChoice, KernelUse } from '../runtime/kernel-use.ts';
import { OrtExecutor } from '../runtime/ort-executor.ts';
import { fileSpool } from '../runtime/spool.ts';
import { firstRun, samplesFor, type DataOptions } from '../model-samples.ts';
import { Divergence } from './divergence.ts';
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

/** Bytes of constants that are loaded at once, if not more are between two places where the model can be cut. */
const blockBytes = 256 * 2 ** 20;

/** Windows whose activations between two blocks are on disk at a time. */
const batch = 128;

/**
 * Measures a model, and how far it is from another one. Large models run block by block; of what windows give only sums are kept.
 */
export async function evaluate(options: EvaluateOptions): Promise<Evaluation> {
  const graph = lookInto(options.model);
  const float = options.against === undefined ? null : lookInto(options.against);
  if (float) checkInputs(graph, float);
  checkFeedable(graph);
  const executor = executorFor(options);
  try {
    const { tokens } = modelInputs(inputsOf(graph), options.data);
    const windows = await samplesFor(graph, options.data);
    const ctx = sweepContext(executor, options);
    const vocabulary = tokens && (vocabularyOf(graph, tokens) ?? (float && vocabularyOf(float, tokens)));
    const seen = new Seen(tokens, (outputs) => tokens && logitsName(outputs, vocabulary));
    // The first window by itself, so that a model that cannot be measured is refused at once.
    for (let start = 0, end = 1; start < windows.length; [start, end] = [end, end + batch])
      await compareOn(windows.slice(start, end), graph, float, seen, ctx, (done) =>
        options.onProgress?.(start + done, windows.length, 'windows'),
      );
    const sites = float && (await siteErrors(float, graph, windows.slice(0, siteWindows), { ...options, tokens, ctx, least: blockBytes }));
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

/** Has `seen` take what both models give on some windows. */
async function compareOn(
  windows: readonly Feeds[],
  graph: Graph,
  float: Graph | null,
  seen: Seen,
  ctx: SweepContext,
  onWindow: (done: number) => void,
): Promise<void> {
  const open: SampleProgram[] = [];
  const started = async (one: Graph): Promise<SampleProgram> => {
    const program = await runToLast(one, windows, ctx, blockBytes);
    open.push(program);
    return program;
  };
  try {
    const model = await firstRun(() => started(graph));
    const reference = float && (await started(float));
    for (const [i, feeds] of windows.entries()) {
      ctx.signal.throwIfAborted();
      const outputs = i === 0 ? await firstRun(() => model.run(i)) : await model.run(i);
      seen.take(feeds, outputs, reference && (await reference.run(i)));
      onWindow(i + 1);
    }
  } finally {
    for (const program of open) await program.close();
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

/** The output that holds logits: the one of that name, or one with an element for each word of the vocabulary. */
function logitsName(outputs: Feeds, vocabulary: number | null): string | null {
  const candidates = Object.entries(outputs).filter(([, t]) => floatElements(t) !== null && t.shape.length === 3);
  const named = candidates.find(([name]) => name === 'logits');
  const fitting = vocabulary === null ? undefined : candidates.find(([, t]) => t.shape.at(-1) === vocabulary);
  return (named ?? fitting)?.[0] ?? null;
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
