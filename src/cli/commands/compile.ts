import { Option, type Command } from '@commander-js/extra-typings';
import { defaults } from '../../defaults.ts';
import { dataHelp, joinedPipeline, pipelines, texts, whole } from '../arguments.ts';
import type { Runner } from '../command.ts';

/** `qc compile`. */
export function defineCompile(program: Command, run: Runner): void {
  program
    .command('compile')
    .summary('quantize a model')
    .description('Quantize a model: run passes, lower to a target, and write an ONNX model that ONNX Runtime runs.')
    .argument('<model>', 'ONNX model; weights may lie in side files')
    .optionsGroup('What to do:')
    .requiredOption('-p, --passes <pipeline>', `${texts.passes}; 'none' for plain rounding`, pipelines)
    .option('--scheme <name>', "bits and grids; 'qc passes' lists the schemes", defaults.scheme)
    .option(
      '--target <name>',
      "runtime to lower to; 'qc passes' lists the targets (default: qc-cpu if its kernels are built, else ort-cpu)",
    )
    .addOption(order)
    .option('--plugin <file...>', texts.plugin)
    .option('--no-bias-correct', 'leave biases as they are')
    .option('--keep-caches', 'keys and values in caches keep their basis: another model fills or reads them too')
    .option('--strict', 'fail when something that the scheme covers is left in float')
    .option('--no-verify', 'do not compare outputs around exact passes and lowering')
    .optionsGroup('Calibration:')
    .option('--calib <file...>', texts.calib)
    .option('--tokenizer <file>', texts.tokenizer)
    .option('--seq <n>', texts.seq, whole(1))
    .option('--samples <n>', texts.samples, whole(1))
    .option('--decode <n>', 'last tokens of each sample that go in one at a time, if the model has caches', whole(0), defaults.decode)
    .option('--seed <n>', texts.seed, whole(0))
    .option('--add-special-tokens', texts.special)
    .option('--input <name>', texts.input)
    .option('--mask <name>', texts.mask)
    .option('--calibration <file>', texts.calibration)
    .option('--save-calibration <file>', 'save the ranges that calibration finds')
    .optionsGroup('Output:')
    .option('-o, --output <file>', 'model to write (default: MODEL with .qc.onnx)')
    .addOption(externalData)
    .option('--print-after <pass>', "print the graph on stderr after this pass, or 'all'")
    .option('--verbose', 'one line of the ledger for each linear, norm and attention')
    .option('--threads <n>', texts.threads, whole(1))
    .option('--json', texts.json)
    .option('--quiet', texts.quiet)
    .addHelpText('after', help)
    .action((model, { passes, ...rest }) =>
      run(rest, async (io) => {
        const { compileCommand } = await import('../run/compile.ts');
        return compileCommand({ model, passes: joinedPipeline(passes), ...rest }, io);
      }),
    );
}

const order = new Option('--order <order>', 'what a block is calibrated on: float activations, or those of the quantized blocks before it')
  .choices(['parallel', 'sequential'] as const)
  .default('parallel' as const);

const externalData = new Option('--external-data <when>', 'put weights into a side file; auto: beyond 1 GiB')
  .choices(['auto', 'always', 'never'] as const)
  .default('auto' as const);

const help = `${dataHelp}
Examples:
  $ qc compile model.onnx -p none --calib calib.txt --tokenizer tokenizer.json
  $ qc compile model.onnx -p rptq,os+ --scheme w4a8 --calib calib.txt --tokenizer tokenizer.json -o small.onnx
  $ qc compile model.onnx -p os+ --calib calib.npz --samples 8 --save-calibration ranges.safetensors
  $ qc compile model.onnx -p rptq --calibration ranges.safetensors --json | jq .bytesAfter`;
