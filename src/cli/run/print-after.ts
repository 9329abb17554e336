import { fail, printGraph, type Graph } from '../../../ir/index.ts';
import { formatPipeline, suggestion, type PassCall } from '../../../passes/index.ts';

/** Throws QC2007 when the pass after which to print is not in the pipeline. */
export function checkPrintAfter(name: string | undefined, calls: readonly PassCall[]): void {
  const names = [...new Set(calls.map((c) => c.name))];
  if (name === undefined || name === 'all' || names.includes(name)) return;
  const hint = `passes that run: ${names.join(', ')}`;
  fail('QC2007', `--print-after: the pipeline has no pass '${name}'${suggestion(name, names)}`, undefined, { hint });
}

/** Prints the graph on stderr if the user wants to see it after this pass. */
export function printAfter(name: string | undefined, call: PassCall, graph: Graph): void {
  if (name === 'all' || name === call.name) process.stderr.write(`// after ${formatPipeline([call])}\n${printGraph(graph)}`);
}
