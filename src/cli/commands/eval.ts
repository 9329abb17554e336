import type { Command } from '@commander-js/extra-typings';
import { dataHelp, number, percent, texts, whole } from '../arguments.ts';
import type { Runner } from '../command.ts';

/** `qc eval`. */
export function defineEval(program: Command, run: Runner): void {
  program
    .command('eval')
    .summary('measure a model, alone or against its float original')
    .description('Measure perplexity; with --against also how far a model is from its float original.')
    .argument('<model>', 'ONNX model to measure')
    .optionsGroup('Data:')
    .requiredOption('--data <file...>', texts.data)
    .option('--tokenizer <file>', texts.tokenizer)
    .option('--seq <n>', texts.seq, whole(1))
    .option('--windows <n>', 'how many windows (default: all of the data)', whole(1))
    .option('--add-special-tokens', texts.special)
    .option('--input <name>', texts.input)
    .option('--mask <name>', texts.mask)
    .optionsGroup('Compare:')
    .option('--against <file>', 'the float model: KL divergence, agreement of the likeliest token, SQNR by site')
    .option('--max-perplexity <x>', 'exit 4 when the perplexity is above', number(0))
    .option('--min-agreement <x>', 'exit 4 when the agreement is below; from 0 to 1, needs --against', number(0, 1))
    .option(
      '--max-perplexity-increase <x%>',
      'exit 4 when the perplexity is above that of the float model by more; needs --against',
      percent,
    )
    .option('--min-cosine <x>', 'exit 4 when that of an output is below, of a model without logits; needs --against', number(-1, 1))
    .option('--min-sqnr <dB>', 'the same of signal by noise, in dB', number(-Infinity))
    .optionsGroup('Run:')
    .option('--threads <n>', texts.threads, whole(1))
    .option('--no-kernels', texts.noKernels)
    .option('--json', texts.json)
    .option('--quiet', texts.quiet)
    .addHelpText('after', help)
    .action((model, { kernels, ...options }) =>
      run(options, async (io) => {
        const { evalCommand } = await import('../run/eval.ts');
        return evalCommand({ model, kernels: kernels ? 'auto' : 'off', ...options }, io);
      }),
    );
}

const help = `${dataHelp}
JSON: {perplexity, tokens, windows, kernels, against: {perplexity, kl, agreement, kernels, sites: [{name, sqnr}]}}. kl is the mean over
tokens of KL(float || model) in nats; sqnr is in dB, null when equal. Sites are results of linears and norms that have the same name
and the same basis of channels in both models. A model without logits has outputs: [{name, sqnr, cosine}] instead of perplexity, kl and
agreement. kernels is {operators, level}, how the model's operators of qc's library ran, or null when it has none; level is null when
they ran as function bodies. When a gate fails the document has "error" beside the figures.

Examples:
  $ qc eval model.qc.onnx --data test.txt --tokenizer tokenizer.json --seq 256
  $ qc eval model.qc.onnx --data test.txt --tokenizer tokenizer.json --against model.onnx --windows 20
  $ qc eval model.qc.onnx --data test.npz --against model.onnx --min-agreement 0.95 --json
  $ qc eval encoder.qc.onnx --data test.jsonl --tokenizer tokenizer.json --against encoder.onnx --min-cosine 0.998`;
