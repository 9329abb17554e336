import type { Command } from '@commander-js/extra-typings';
import { texts, whole, wholes } from '../arguments.ts';
import type { Runner } from '../command.ts';

/** `qc generate`. */
export function defineGenerate(program: Command, run: Runner): void {
  program
    .command('generate')
    .summary('continue a text, with the caches of the model, and say how fast')
    .description('Continue a prompt by greedy decoding: after each step the likeliest token is the next one.')
    .argument('<model>', 'ONNX model of a decoder')
    .optionsGroup('Prompt:')
    .option('--prompt <text>', 'the text to continue; needs --tokenizer')
    .option('--ids <n,...>', 'the tokens to continue, by their ids', wholes(0))
    .option('--tokenizer <file>', texts.tokenizer)
    .option('--add-special-tokens', texts.special)
    .option('--input <name>', texts.input)
    .option('--mask <name>', texts.mask)
    .optionsGroup('Run:')
    .option('--tokens <n>', 'how many tokens to generate at most', whole(1), 32)
    .option('--stop <n,...>', 'ids of tokens that end the sequence', wholes(0))
    .option('--threads <n>', texts.threads, whole(1))
    .option('--no-kernels', texts.noKernels)
    .option('--json', texts.json)
    .option('--quiet', texts.quiet)
    .addHelpText('after', help)
    .action((model, { kernels, ...options }) =>
      run(options, async (io) => {
        const { generateCommand } = await import('../run/generate.ts');
        return generateCommand({ model, kernels: kernels ? 'auto' : 'off', ...options }, io);
      }),
    );
}

const help = `
Caches go from step to step where the model has them, and start empty; a model without caches reads the whole sequence again for each
token. Masks, positions and token types are made. Times are those of ONNX Runtime alone.

JSON: {prompt, tokens, text, ended, caches, prefill: {tokens, milliseconds, tokensPerSecond}, decode: {the same}, kernels}. prompt and
tokens are ids, text is null without a tokenizer. ended is tokens (as many as wanted), stop (a token of --stop) or positions (the model
has no more). caches counts those that went from step to step. The first token comes from the prefill, the others from the decoding.

Examples:
  $ qc generate model.qc.onnx --tokenizer tokenizer.json --prompt 'Once upon a time' --tokens 64
  $ qc generate model.onnx --ids 2,45,17 --json`;
