import { Argument, type Command } from '@commander-js/extra-typings';
import { texts } from '../arguments.ts';
import type { Runner } from '../command.ts';

/** `qc kernels build` and `qc kernels path`. */
export function defineKernels(program: Command, run: Runner): void {
  const kernels = program
    .command('kernels')
    .summary('build the library of kernels, or say where it is')
    .description('Build the library of operators that models of --target qc-cpu and qc-cuda run on, or say where it is.')
    .addHelpText('after', help);
  kernels
    .command('build')
    .summary('build the library')
    .description(
      'Build the library into the folder of the package. Needs Linux x64, cmake and g++; cuda also needs nvcc, or pip to fetch it.',
    )
    .addArgument(device())
    .option('--json', texts.json)
    .option('--quiet', texts.quiet)
    .addHelpText('after', '\nExamples:\n  $ qc kernels build\n  $ qc kernels build cuda')
    .action((of, options) =>
      run(options, async (io) => {
        const { buildKernelsCommand } = await import('../run/kernels.ts');
        return buildKernelsCommand(of, io);
      }),
    );
  kernels
    .command('path')
    .summary('print the path of the library')
    .description('Print the path of the library that sessions use; exits 1 when it is not built.')
    .addArgument(device())
    .option('--json', texts.json)
    .addHelpText('after', '\nExamples:\n  $ qc kernels path\n  $ qc kernels path cuda')
    .action((of, options) =>
      run(options, async (io) => {
        const { kernelPathCommand } = await import('../run/kernels.ts');
        return kernelPathCommand(of, io);
      }),
    );
}

const device = () =>
  new Argument('[device]', 'the library for the CPU, or that for GPUs').choices(['cpu', 'cuda'] as const).default('cpu' as const);

const help = `
Without the library, models run on the function bodies that they carry: the same but for rounding, only slower. QC_KERNELS names a
library elsewhere, or switches it off.

Examples:
  $ qc kernels build
  $ qc kernels path`;
