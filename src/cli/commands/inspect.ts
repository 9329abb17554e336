import type { Command } from '@commander-js/extra-typings';
import { texts } from '../arguments.ts';
import type { Runner } from '../command.ts';

/** `qc inspect`. */
export function defineInspect(program: Command, run: Runner): void {
  program
    .command('inspect')
    .summary('show what a model holds')
    .description('Show inputs, outputs, operators, parameters, and what qc recognises. Reads no weights, whatever their size.')
    .argument('<model>', 'ONNX model')
    .option('--why', 'list what was recognised in part and left: node, rule, reason, value')
    .option('--json', texts.json)
    .addHelpText('after', help)
    .action((model, options) =>
      run(options, async (io) => {
        const { inspectCommand } = await import('../run/inspect.ts');
        return inspectCommand(model, options, io);
      }),
    );
}

const help = `
JSON: {file, bytes, irVersion, opsets: {domain: version}, producer: {name, version}, inputs and outputs: [{name, type}], nodes,
operators: {name: count}, parameters: {count, bytes, byType: {dtype: {tensors, count, bytes}}}, externalFiles: [{path, bytes}],
recognised: {linears, heads, norms, attentions, caches, sites: {role: count}} or null with notRecognised saying why, metadata}. With
--why also refused: [{node, op, rule, why, value}]. The default domain is called ai.onnx.

Examples:
  $ qc inspect model.onnx
  $ qc inspect model.onnx --why
  $ qc inspect model.onnx --json | jq .parameters.byType`;
