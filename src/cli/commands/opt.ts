import type { Command } from '@commander-js/extra-typings';
import { joinedPipeline, pipelines, texts, whole } from '../arguments.ts';
import type { Runner } from '../command.ts';

/** `qc opt`. */
export function defineOpt(program: Command, run: Runner): void {
  program
    .command('opt')
    .summary('run exactly the given passes and print the graph')
    .description('Run exactly the given passes, nothing put around them, and print the graph as .qcir text on stdout.')
    .argument('<file>', '.qcir text, or an ONNX model')
    .optionsGroup('What to do:')
    .requiredOption('-p, --passes <pipeline>', texts.passes, pipelines)
    .option('-o, --output <file>', 'write .qcir or .onnx instead')
    .option('--print-after <pass>', "print the graph on stderr after this pass, or 'all'")
    .option('--plugin <file...>', texts.plugin)
    .option('--verify', 'compare outputs around every exact pass, on inputs made up')
    .optionsGroup('Calibration:')
    .option('--calib <file...>', texts.calib)
    .option('--tokenizer <file>', texts.tokenizer)
    .option('--seq <n>', texts.seq, whole(1))
    .option('--samples <n>', texts.samples, whole(1))
    .option('--seed <n>', texts.seed, whole(0))
    .option('--add-special-tokens', texts.special)
    .option('--input <name>', texts.input)
    .option('--mask <name>', texts.mask)
    .option('--calibration <file>', texts.calibration)
    .optionsGroup('Run:')
    .option('--threads <n>', texts.threads, whole(1))
    .option('--json', `${texts.json}: the passes, their counts, diagnostics, and the graph as text`)
    .option('--quiet', texts.quiet)
    .addHelpText('after', help)
    .action((file, { passes, ...rest }) =>
      run(rest, async (io) => {
        const { optCommand } = await import('../run/opt.ts');
        return optCommand({ file, passes: joinedPipeline(passes), ...rest }, io);
      }),
    );
}

const help = `
A .qcir file counts as raised, and what it holds (sites, observers, statistics) counts as given. Of a golden, the graph before its
passes is read. Constants of more than 16 elements print as the file and range that they lie in, or as a digest when they were computed.

Examples:
  $ qc opt block.qcir -p fold-channels
  $ qc opt model.onnx -p raise,mark-sites --print-after raise | less
  $ qc opt model.onnx -p raise,fold-constants -o raised.onnx`;
