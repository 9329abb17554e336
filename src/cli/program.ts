import { Command as Commander } from '@commander-js/extra-typings';
import type { Runner } from './command.ts';
import { defineBench } from './commands/bench.ts';
import { defineCompile } from './commands/compile.ts';
import { defineDoctor } from './commands/doctor.ts';
import { defineEval } from './commands/eval.ts';
import { defineExplain } from './commands/explain.ts';
import { defineGenerate } from './commands/generate.ts';
import { defineInspect } from './commands/inspect.ts';
import { defineKernels } from './commands/kernels.ts';
import { defineMemory } from './commands/memory.ts';
import { defineOpt } from './commands/opt.ts';
import { definePasses } from './commands/passes.ts';
import { version } from './version.ts';

/** The command line of `qc`. It throws `CommanderError` for help, version and usage errors, and prints nothing for the last. */
export function buildProgram(run: Runner): Commander {
  const program = new Commander('qc');
  program
    .description('Quantize ONNX transformers: RPTQ and Outlier Suppression+, folded into the weights.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .exitOverride()
    .configureOutput({ outputError: () => {}, writeErr: () => {} })
    .configureHelp({ showGlobalOptions: false })
    .addHelpText(
      'after',
      `
Examples:
  $ qc compile model.onnx -p rptq,os+ --calib calib.txt --tokenizer tokenizer.json -o model.w8a8.onnx
  $ qc eval model.w8a8.onnx --data test.txt --tokenizer tokenizer.json --seq 256 --against model.onnx
  $ qc explain QC2101

Exit codes: 0 done, 1 failure, 2 usage, 3 model not understood, 4 gate failed, 70 bug in qc, 129, 130 and 143
stopped by SIGHUP, SIGINT (Ctrl-C) and SIGTERM.`,
    );
  program.commandsGroup('Compile:');
  defineCompile(program, run);
  defineEval(program, run);
  defineBench(program, run);
  defineGenerate(program, run);
  program.commandsGroup('Look:');
  defineInspect(program, run);
  defineMemory(program, run);
  definePasses(program, run);
  defineExplain(program, run);
  program.commandsGroup('Debug:');
  defineOpt(program, run);
  defineDoctor(program, run);
  defineKernels(program, run);
  program.commandsGroup('Help:');
  return program;
}
