import { fail } from '../../../ir/index.ts';
import { generate, type Generation, type GenerateOptions, type Stretch } from '../../generate/generate.ts';
import type { Io } from '../command.ts';
import { kernelText } from '../kernel-text.ts';
import { startProgress } from '../progress.ts';

/** The command line of `qc generate`. */
export interface GenerateFlags extends Omit<GenerateOptions, 'prompt' | 'signal' | 'onToken'> {
  readonly prompt?: string | undefined;
  readonly ids?: readonly number[] | undefined;
}

/** Prints what a model makes of a prompt. */
export async function generateCommand({ prompt, ids, ...flags }: GenerateFlags, { terminal, signal }: Io): Promise<void> {
  if ((prompt === undefined) === (ids === undefined)) fail('QC2007', 'give the prompt either as --prompt TEXT or as --ids N,...');
  const progress = await startProgress([`generate with ${flags.model}`], terminal);
  try {
    progress.begin(0);
    const found = await generate({
      ...flags,
      prompt: prompt ?? ids!,
      signal,
      onToken: (done) => progress.step(done, flags.tokens, 'tokens'),
    });
    await progress.end();
    if (terminal.json) terminal.document({ ...found });
    else terminal.data(generationText(found));
  } catch (error) {
    await progress.end(error);
    throw error;
  }
}

function generationText({ tokens, text, ended, caches, prefill, decode, kernels }: Generation): string {
  const ends = { tokens: 'as many tokens as wanted', stop: 'a token that ends sequences', positions: 'no position left' };
  const lines: readonly (readonly [string, string])[] = [
    ['prefill', stretchText(prefill)],
    ['decoding', stretchText(decode)],
    ['caches', caches > 0 ? String(caches) : 'none: the whole sequence is read again for each token'],
    ['ended by', ends[ended]],
    ...(kernels ? [['runs on', kernelText(kernels)] as const] : []),
  ];
  return [text ?? tokens.join(','), '', ...lines.map(([what, figure]) => `${what.padEnd(20)}${figure}`)].join('\n');
}

const stretchText = ({ tokens, milliseconds, tokensPerSecond }: Stretch): string =>
  tokensPerSecond === null ? 'no token' : `${tokens} tokens in ${milliseconds.toFixed(0)} ms, ${tokensPerSecond.toFixed(0)} tokens/s`;
