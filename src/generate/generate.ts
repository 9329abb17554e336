import { fail, unknownLocation } from '../../ir/diagnostics.ts';
import type { Feeds } from '../../passes/index.ts';
import { requireTokens, modelInputs, type InputNames, type ModelInputs } from '../data/inputs.ts';
import { checkTokens, tokenizerFor } from '../data/tokens.ts';
import { loadTokenizer, type Tokenizer } from '../data/tokenizer.ts';
import { floatElements } from '../eval/float-elements.ts';
import { logitsName } from '../eval/logits.ts';
import { checkFeedable, inputsOf, lookInto, vocabularyOf } from '../model.ts';
import { positionsOf } from '../positions.ts';
import type { KernelChoice, KernelUse } from '../runtime/kernel-use.ts';
import { OrtExecutor, type OrtProgram } from '../runtime/ort-executor.ts';
import { carriedCaches } from './caches.ts';
import { feedsFor } from './feeds.ts';

export interface GenerateOptions extends InputNames {
  readonly model: string;
  /** A text, which needs a tokenizer, or ids of tokens. */
  readonly prompt: string | readonly number[];
  /** Path of a `tokenizer.json`. */
  readonly tokenizer?: string | undefined;
  readonly addSpecialTokens?: boolean | undefined;
  /** How many tokens to generate at most. */
  readonly tokens: number;
  /** Ids that end the sequence. */
  readonly stop?: readonly number[] | undefined;
  readonly threads?: number | undefined;
  readonly kernels?: KernelChoice | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onToken?: ((done: number) => void) | undefined;
}

/** Tokens that a model went through, and the milliseconds that ONNX Runtime took for them. */
export interface Stretch {
  readonly tokens: number;
  readonly milliseconds: number;
  /** Null for no tokens. */
  readonly tokensPerSecond: number | null;
}

export interface Generation {
  readonly prompt: readonly number[];
  readonly tokens: readonly number[];
  /** The tokens as text; null without a tokenizer. */
  readonly text: string | null;
  /** Why it ended: as many tokens as wanted, a token that ends sequences, or no position left. */
  readonly ended: 'tokens' | 'stop' | 'positions';
  /** How many caches went from step to step; 0 for a model that reads the whole sequence again for each token. */
  readonly caches: number;
  readonly prefill: Stretch;
  readonly decode: Stretch;
  /** How the operators of the library of kernels ran; null for a model without any. */
  readonly kernels: KernelUse | null;
}

/** Greedy decoding: after each step the likeliest token is the next one, the first of equals. */
export async function generate(options: GenerateOptions): Promise<Generation> {
  if (!(Number.isSafeInteger(options.tokens) && options.tokens > 0))
    fail('QC2003', `tokens is a positive whole number, found ${options.tokens}`);
  const graph = lookInto(options.model);
  checkFeedable(graph);
  const inputs = modelInputs(inputsOf(graph), options);
  const ids = requireTokens(inputs, unknownLocation);
  const tokenizer = options.tokenizer === undefined ? null : await loadTokenizer(options.tokenizer);
  const prompt = promptIds(options, tokenizer);
  checkTokens(prompt, vocabularyOf(graph, ids), unknownLocation);
  const limit = positionsOf(graph, inputs);
  if (limit !== null && prompt.length > limit) fail('QC2111', `the prompt has ${prompt.length} tokens, the model positions for ${limit}`);
  const executor = new OrtExecutor({
    ...(options.threads === undefined ? {} : { threads: options.threads }),
    kernels: options.kernels ?? 'auto',
  });
  try {
    const program = await executor.openFile(options.model);
    const found = await decoded(program, inputs, prompt, { ...options, limit, vocabulary: vocabularyOf(graph, ids) });
    return { prompt, ...found, text: tokenizer && tokenizer.decode(found.tokens), kernels: program.kernels };
  } finally {
    await executor.close();
  }
}

function promptIds({ prompt, addSpecialTokens }: GenerateOptions, tokenizer: Tokenizer | null): readonly number[] {
  const ids =
    typeof prompt === 'string'
      ? tokenizerFor({ tokenizer }, unknownLocation).encode(prompt, { addSpecialTokens: addSpecialTokens ?? false })
      : prompt;
  return ids.length > 0 ? ids : fail('QC2106', 'the prompt has no tokens');
}

interface Limits extends Pick<GenerateOptions, 'tokens' | 'stop' | 'signal' | 'onToken'> {
  /** Positions of the model; null for no limit that is known. */
  readonly limit: number | null;
  readonly vocabulary: number | null;
}

type Decoded = Pick<Generation, 'tokens' | 'ended' | 'caches' | 'prefill' | 'decode'>;

async function decoded(program: OrtProgram, inputs: ModelInputs, prompt: readonly number[], limits: Limits): Promise<Decoded> {
  const carry = carriedCaches(
    inputs,
    program.outputs.map(({ name }) => name),
  );
  const caches = Object.keys(carry).length;
  const tokens: number[] = [];
  const times: number[] = [];
  const endedBy = (): Generation['ended'] | null => {
    if (tokens.length > 0 && limits.stop?.includes(tokens.at(-1)!)) return 'stop';
    if (tokens.length === limits.tokens) return 'tokens';
    return limits.limit !== null && prompt.length + tokens.length > limits.limit ? 'positions' : null;
  };
  let ended = endedBy();
  for (; ended === null; ended = endedBy()) {
    limits.signal?.throwIfAborted();
    const sequence = [...prompt, ...tokens];
    const past = caches > 0 && tokens.length > 0 ? sequence.length - 1 : 0;
    const { outputs, milliseconds } = await program.step(feedsFor(sequence.slice(past), past, inputs, carry), carry);
    times.push(milliseconds);
    tokens.push(likeliest(outputs, limits.vocabulary));
    limits.onToken?.(tokens.length);
  }
  const rest = times.slice(1);
  return { tokens, ended, caches, prefill: stretch(prompt.length, times.slice(0, 1)), decode: stretch(rest.length, rest) };
}

const stretch = (tokens: number, times: readonly number[]): Stretch => {
  const milliseconds = times.reduce((a, b) => a + b, 0);
  return { tokens, milliseconds, tokensPerSecond: tokens === 0 ? null : (1000 * tokens) / milliseconds };
};

/** The token with the largest logit in the last row. */
function likeliest(outputs: Feeds, vocabulary: number | null): number {
  const name = logitsName(outputs, vocabulary);
  const logits = name === null ? undefined : outputs[name];
  const data = floatElements(logits);
  if (!logits || !data) return fail('QC2103', 'the model gives no logits [batch, seq, vocabulary] of f32 or f16');
  const row = data.subarray(data.length - logits.shape.at(-1)!);
  let best = 0;
  for (let i = 1; i < row.length; i++) if (row[i]! > row[best]!) best = i;
  return best;
}
