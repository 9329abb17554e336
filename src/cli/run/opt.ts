import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { replaceFiles, settleOpset, writeModel, restoreTypes, storeHalves, toFloat32, type Interface } from '../../../codegen/index.ts';
import { fail, parseGraph, printGraph, type Graph } from '../../../ir/index.ts';
import { ContractCheck, PassManager, passes, type Plan, type RunReport } from '../../../passes/index.ts';
import { factsOf } from '../../facts.ts';
import { openModel, syntheticFeeds } from '../../model.ts';
import { graphBefore } from '../../golden.ts';
import { loadPlugins } from '../../plugins.ts';
import { OrtExecutor } from '../../runtime/ort-executor.ts';
import { fileSpool } from '../../runtime/spool.ts';
import { tensorStore } from '../../runtime/tensor-store.ts';
import { defaults } from '../../defaults.ts';
import { firstRun, maskOf, samplesFor } from '../../model-samples.ts';
import { readStatistics } from '../../statistics-file.ts';
import type { Io } from '../command.ts';
import { startProgress } from '../progress.ts';
import { dataOptions, type DataFlags } from './data.ts';
import { checkOutput, checkPlace } from './output.ts';
import { checkPrintAfter, printAfter } from './print-after.ts';

/** The command line of `qc opt`. */
export interface OptFlags extends DataFlags {
  readonly file: string;
  readonly passes: string;
  readonly output?: string | undefined;
  readonly printAfter?: string | undefined;
  readonly plugin?: readonly string[] | undefined;
  readonly verify?: true | undefined;
  readonly threads?: number | undefined;
}

/** Runs the passes, then prints or writes the graph. */
export async function optCommand(flags: OptFlags, io: Io): Promise<void> {
  const manager = new PassManager([...passes, ...(await loadPlugins(flags.plugin ?? []))]);
  checkKind(flags.output);
  if (isText(flags.file)) checkTextOutput(flags);
  else checkOutput(flags.file, [flags.output]);
  const graph = isText(flags.file) ? parseGraph(graphBefore(readText(flags.file)), { file: flags.file }) : openModel(flags.file);
  const types: Interface = isText(flags.file) ? new Map() : toFloat32(graph);
  const plan = manager.plan(flags.passes, factsOf(graph, isText(flags.file)));
  checkPrintAfter(flags.printAfter, plan.calls);
  const report = await run(plan, graph, flags, io);
  io.terminal.diagnose(report.diagnostics);
  if (flags.output !== undefined) write(graph, types, flags.output);
  give(graph, plan, report, flags, io);
}

const isText = (file: string): boolean => extname(file) === '.qcir';

async function run(plan: Plan, graph: Graph, flags: OptFlags, { terminal, signal }: Io): Promise<RunReport> {
  const data = dataOptions(flags);
  const samples = data ? await samplesFor(graph, data, defaults.samples) : null;
  const statistics = flags.calibration === undefined ? null : readStatistics(flags.calibration);
  const executor = new OrtExecutor(flags.threads === undefined ? {} : { threads: flags.threads });
  const progress = await startProgress(
    plan.calls.map((call) => call.name),
    terminal,
  );
  // Open until the process ends, because the graph that is written may hold what is in it.
  const { store } = tensorStore();
  const ctx = { services: { executor, spool: fileSpool }, signal, progress: () => {} };
  try {
    const contract = flags.verify ? await firstRun(() => ContractCheck.start(ctx, graph, samples?.[0] ?? syntheticFeeds(graph))) : null;
    const runPasses = (): Promise<RunReport> =>
      plan.run(graph, {
        services: { executor, spool: fileSpool, store, samples, mask: maskOf(graph, data), statistics },
        contract,
        signal,
        beforePass: (_, index) => progress.begin(index),
        afterPass: (call, after) => printAfter(flags.printAfter, call, after),
        progress: progress.step,
      });
    const report = await (contract ? runPasses() : firstRun(runPasses));
    await progress.end();
    return report;
  } catch (error) {
    await progress.end(error);
    throw error;
  } finally {
    await executor.close();
  }
}

function give(graph: Graph, plan: Plan, report: RunReport, { output }: OptFlags, { terminal }: Io): void {
  const text = output === undefined && !terminal.json ? printGraph(graph) : null;
  if (output !== undefined) terminal.note(`written: ${output}`);
  if (text !== null) terminal.data(text);
  if (!terminal.json) return;
  terminal.document({
    pipeline: plan.text,
    passes: report.passes.map(({ call, counts, changed }) => ({ call, counts: Object.fromEntries(counts), changed })),
    diagnostics: report.diagnostics,
    ledger: report.ledger.entries,
    ...(output === undefined ? { graph: printGraph(graph) } : { written: output }),
  });
}

function write(graph: Graph, types: Interface, output: string): void {
  if (isText(output)) replaceFiles([{ path: output, pieces: [Buffer.from(printGraph(graph))] }]);
  else {
    storeHalves(graph);
    restoreTypes(graph, types);
    settleOpset(graph);
    writeModel(graph, output);
  }
}

function checkKind(output: string | undefined): void {
  if (output !== undefined && !isText(output) && extname(output) !== '.onnx') fail('QC2007', `-o ${output}: qc opt writes .qcir or .onnx`);
}

function checkTextOutput({ file, output }: OptFlags): void {
  if (output === file) fail('QC2007', `${file} would overwrite the input`);
  if (output !== undefined) checkPlace(output);
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    return fail('QC2109', `cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
