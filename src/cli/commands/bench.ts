import { Option, type Command } from '@commander-js/extra-typings';
import { texts, whole, wholes } from '../arguments.ts';
import type { Runner } from '../command.ts';

/** `qc bench`. */
export function defineBench(program: Command, run: Runner): void {
  program
    .command('bench')
    .summary('measure time and memory of models')
    .description('Measure one forward pass of a batch of one, loading, memory and size; with --against relative to other models.')
    .argument('<model>', 'ONNX model to measure')
    .option('--against <file...>', 'further models; ratios are to the first one')
    .optionsGroup('Inputs:')
    .addOption(seq)
    .option('--past <n>', 'tokens in the caches, for a model that takes any', whole(0), 0)
    .optionsGroup('Run:')
    .option('--runs <n>', 'timed runs of each model at each length', whole(1), 15)
    .option('--threads <n>', 'threads of ONNX Runtime', whole(1), 1)
    .option('--no-kernels', texts.noKernels)
    .option('--profile', 'also the time by operator, from the profile of ONNX Runtime')
    .option('--json', texts.json)
    .option('--quiet', texts.quiet)
    .addHelpText('after', help)
    .action((model, { kernels, ...options }) =>
      run(options, async (io) => {
        const { benchCommand } = await import('../run/bench.ts');
        return benchCommand({ models: [model, ...(options.against ?? [])], kernels: kernels ? 'auto' : 'off', ...options }, io);
      }),
    );
}

const seq = new Option('--seq <n,...>', 'tokens that go in; at most what the model has positions for')
  .argParser(wholes(1))
  .default([256] as readonly number[], '256');

const help = `
Runs of the models take turns, after two that do not count; inputs are made up. A ratio is the median over rounds of a model's time
by that of the first model in the same round. Loading and memory are of a process that does nothing else, the middle one of three:
resident bytes once the model is loaded, and at most, the longest input having run once; Node and ONNX Runtime alone are "empty" in
the JSON. Files that are mapped into memory count as far as they were read.

JSON: {threads, runs, models: [{model, bytes, kernels: {operators, level} or null, load, memory: {empty, loaded, peak}, lengths: [{seq,
inputs: {name: {dtype, shape}}, times: {median, lower, upper, least, most}, tokensPerSecond, ratio, operators: [{operator, nodes,
milliseconds, share}]}]}]}. Times are in milliseconds, lower and upper are quartiles; tokensPerSecond is null for a model that takes no
tokens, and the table shows what it ran on instead. kernels is how the operators of qc's library ran: level null is as function bodies.

Examples:
  $ qc bench model.onnx --seq 1,256
  $ qc bench model.onnx --against model.qc.onnx --runs 30
  $ qc bench model.qc.onnx --no-kernels --profile --json`;
