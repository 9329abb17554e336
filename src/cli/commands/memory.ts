import { Option, type Command } from '@commander-js/extra-typings';
import { defaults } from '../../defaults.ts';
import { texts, whole } from '../arguments.ts';
import type { Runner } from '../command.ts';

/** `qc memory`. */
export function defineMemory(program: Command, run: Runner): void {
  program
    .command('memory')
    .summary('say what a model takes when it runs')
    .description('Say how many bytes weights, the cache of keys and values, and the activations of one step take. Reads no weights.')
    .argument('<model>', "ONNX model, or a config.json of Hugging Face's")
    .option('--scheme <name...>', "bits; 'qc passes' lists the schemes; several are compared", [defaults.scheme])
    .option('--batch <n>', 'sequences at once', whole(1), 1)
    .option('--seq <n>', 'tokens whose keys and values are kept', whole(1), 2048)
    .option('--step <n>', 'tokens of one step: 1 when a token is generated, those of --seq when a prompt is read', whole(1), 1)
    .addOption(new Option('--float <type>', 'type of what stays in float').choices(['f16', 'f32'] as const).default('f16' as const))
    .option('--json', texts.json)
    .addHelpText('after', help)
    .action((model, options) =>
      run(options, async (io) => {
        const { memoryCommand } = await import('../run/memory.ts');
        return memoryCommand(model, options, io);
      }),
    );
}

const help = `
JSON: {model, batch, seq, step, float, attentionsLeft, schemes: {name: {linears, others, cache, activations, total}}}, in bytes. Linears are codes with a
scale and a zero point for each column; others are embeddings, heads, norms and biases.

Examples:
  $ qc memory model.onnx --scheme w8a8 w4a16
  $ qc memory config.json --scheme rptq-w4a16 rptq-w4a4 --batch 64 --seq 8192`;
