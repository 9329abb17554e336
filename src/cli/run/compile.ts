import { targetNamed, targets } from '../../../codegen/index.ts';
import type { Graph } from '../../../ir/index.ts';
import { flattened, formatPipeline, PassManager, passes, type PassCall } from '../../../passes/index.ts';
import { compile } from '../../compile.ts';
import { defaultTarget } from '../../default-target.ts';
import { effectivePipeline, type BlockOrder } from '../../effective-pipeline.ts';
import { loadPlugins } from '../../plugins.ts';
import type { Io } from '../command.ts';
import { startProgress } from '../progress.ts';
import { dataOptions, type DataFlags } from './data.ts';
import { checkOutput, defaultOutput } from './output.ts';
import { checkPrintAfter, printAfter } from './print-after.ts';
import { compileText } from './report.ts';

/** The command line of `qc compile`. */
export interface CompileFlags extends DataFlags {
  readonly model: string;
  readonly passes: string;
  readonly scheme: string;
  readonly order: BlockOrder;
  readonly target?: string | undefined;
  readonly plugin?: readonly string[] | undefined;
  readonly keepCaches?: true | undefined;
  readonly strict?: true | undefined;
  readonly verify: boolean;
  readonly biasCorrect: boolean;
  readonly decode: number;
  readonly saveCalibration?: string | undefined;
  readonly output?: string | undefined;
  readonly externalData: 'auto' | 'always' | 'never';
  readonly printAfter?: string | undefined;
  readonly verbose?: true | undefined;
  readonly threads?: number | undefined;
}

/** Compiles, and prints the ledger and a summary on stdout, or the report as JSON. */
export async function compileCommand(flags: CompileFlags, { terminal, signal }: Io): Promise<void> {
  const plugins = await loadPlugins(flags.plugin ?? []);
  const chosen = flags.target === undefined ? defaultTarget() : { name: flags.target, why: null };
  const calls = plannedCalls(flags, chosen.name, [...passes, ...plugins]);
  checkPrintAfter(flags.printAfter, flattened(calls));
  const output = flags.output ?? defaultOutput(flags.model);
  checkOutput(flags.model, [output, flags.saveCalibration]);
  if (chosen.why !== null) terminal.note(`target: ${chosen.name} (${chosen.why})`);
  const progress = await startProgress([...calls.map((call) => formatPipeline([call])), 'lower and write'], terminal);
  try {
    const report = await compile({
      model: flags.model,
      output,
      passes: flags.passes,
      order: flags.order,
      scheme: flags.scheme,
      target: chosen.name,
      data: dataOptions(flags),
      decode: flags.decode,
      calibration: flags.calibration,
      saveCalibration: flags.saveCalibration,
      plugins,
      verify: flags.verify,
      biasCorrect: flags.biasCorrect,
      keepCaches: flags.keepCaches ?? false,
      strict: flags.strict ?? false,
      threads: flags.threads,
      externalData: flags.externalData,
      signal,
      onPass: (_, index) => progress.begin(index),
      onProgress: progress.step,
      afterPass: (call: PassCall, graph: Graph, index: number | null) => {
        printAfter(flags.printAfter, call, graph);
        if (index === calls.length - 1) progress.begin(calls.length);
      },
    });
    await progress.end();
    terminal.diagnose(report.diagnostics);
    terminal.note(`pipeline: ${report.pipeline}`);
    if (terminal.json) terminal.document(report);
    else terminal.data(compileText(report, flags.verbose ?? false, terminal.color));
  } catch (error) {
    await progress.end(error);
    throw error;
  }
}

/** Also finds mistakes in names and options before the model is read. */
function plannedCalls(flags: CompileFlags, target: string, known: ConstructorParameters<typeof PassManager>[0]): readonly PassCall[] {
  const manager = new PassManager(known);
  return manager.plan(effectivePipeline(manager, { ...flags, target: targetNamed(targets, target) })).calls;
}
