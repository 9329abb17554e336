import type { Graph } from '../ir/index.ts';
import { ContractCheck, PassManager, passes, sampleAt, type Pass, type RunReport, type Samples, type Services } from '../passes/index.ts';
import { factsOf } from './facts.ts';
import { syntheticFeeds } from './model.ts';
import { OrtExecutor } from './runtime/ort-executor.ts';
import { fileSpool } from './runtime/spool.ts';
import { tensorStore } from './runtime/tensor-store.ts';
import { maskOf } from './model-samples.ts';

/** What a pipeline runs with. */
export interface PipelineOptions {
  /** Calibration samples, each an array by the name of every input; none by default. */
  readonly samples?: Samples | null;
  /** Passes beside those of `qc`. */
  readonly plugins?: readonly Pass[];
  /** Facts that hold from the start, beside those that show on the graph: its sites, observers and statistics. */
  readonly facts?: readonly string[];
  /** Compares outputs around every exact pass, on the first sample or on inputs made up; true by default. */
  readonly verify?: boolean;
}

/**
 * Runs exactly the passes of `pipeline` on `graph`, which they change, in a session of ONNX Runtime that ends with the run.
 * Throws `QcError`: QC2001 to QC2005 for a pipeline that cannot run, before anything runs; QC3001 for a pass that breaks its contract.
 */
export async function runPipeline(graph: Graph, pipeline: string, options: PipelineOptions = {}): Promise<RunReport> {
  const { samples = null, plugins = [], facts = [], verify = true } = options;
  const plan = new PassManager([...passes, ...plugins]).plan(pipeline, [...factsOf(graph), ...facts]);
  const executor = new OrtExecutor();
  // Open until the process ends, because the graph may hold what is in it.
  const { store } = tensorStore();
  const services: Services = { executor, spool: fileSpool, store, samples, mask: maskOf(graph), statistics: null };
  let contract: ContractCheck | null = null;
  try {
    contract = verify ? await checkOn(graph, services) : null;
    return await plan.run(graph, { services, contract });
  } finally {
    await contract?.close();
    await executor.close();
  }
}

async function checkOn(graph: Graph, services: Services): Promise<ContractCheck> {
  const probe = services.samples?.length ? await sampleAt(services.samples, 0) : syntheticFeeds(graph);
  return ContractCheck.start({ services, signal: new AbortController().signal, progress: () => {} }, graph, probe);
}
