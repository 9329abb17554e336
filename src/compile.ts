import {
  declineFor,
  lowerTo,
  restoreTypes,
  roundingHalves,
  settleOpset,
  storeHalves,
  targetNamed,
  targets,
  toFloat32,
  stageModel,
  type Lowering,
  type StagedModel,
  type Target,
} from '../codegen/index.ts';
import { cloneGraph, diagnostic, eachGraph, exchange, fail, inferTypes, QcError, type Diagnostic, type Graph } from '../ir/index.ts';
import {
  compare,
  flattened,
  ContractCheck,
  Ledger,
  PassManager,
  passes,
  referenceOf,
  sampleAt,
  schemeNamed,
  type Feeds,
  type Pass,
  type PassCall,
  type Plan,
  type Reference,
  type RunReport,
  type Samples,
  type Services,
  type SweepContext,
} from '../passes/index.ts';
import { bytesOfModel, enterLowering, leftAtRunTime, nothingDone, type CompileReport, type WrittenFile } from './compile-report.ts';
import { defaultTarget } from './default-target.ts';
import { defaults } from './defaults.ts';
import { digestOfFiles } from './digest.ts';
import { withDecoding } from './data/decoding.ts';
import { modelInputs } from './data/inputs.ts';
import { inputsOf, openModel, syntheticFeeds } from './model.ts';
import { effectivePipeline, type BlockOrder } from './effective-pipeline.ts';
import { refuseQuantized } from './quantized-already.ts';
import { OrtExecutor } from './runtime/ort-executor.ts';
import { fileSpool } from './runtime/spool.ts';
import { tensorStore } from './runtime/tensor-store.ts';
import { firstRun, maskOf, samplesFor, type DataOptions } from './model-samples.ts';
import { readStatistics, writeStatistics } from './statistics-file.ts';

export interface CompileOptions {
  readonly model: string;
  readonly output: string;
  /** The passes that the user asks for; what they need is put around them. */
  readonly passes: string;
  /** `w8a8` by default. */
  readonly scheme?: string | undefined;
  /** By default `qc-cpu` where its kernels are built, else `ort-cpu`. */
  readonly target?: string | undefined;
  /** `parallel` by default: every block is calibrated on float activations. `sequential`: on those of the quantized blocks before it. */
  readonly order?: BlockOrder | undefined;
  /** Add to biases what quantization takes from the means of results; true by default. */
  readonly biasCorrect?: boolean | undefined;
  /** Calibration data; as many as 128 samples by default. */
  readonly data?: DataOptions | undefined;
  /** The last tokens of each sample that go in one at a time, where the model has caches; 4 by default, 0 for none. */
  readonly decode?: number | undefined;
  /** Statistics saved by an earlier compile, instead of data. */
  readonly calibration?: string | undefined;
  readonly saveCalibration?: string | undefined;
  /** Caches keep their basis, because another model fills or reads them too; false by default. */
  readonly keepCaches?: boolean | undefined;
  readonly plugins?: readonly Pass[] | undefined;
  /** Compare outputs around every exact pass and around lowering; true by default. */
  readonly verify?: boolean | undefined;
  /** Fail (QC2201) when something that the scheme covers was left alone. */
  readonly strict?: boolean | undefined;
  readonly threads?: number | undefined;
  readonly externalData?: 'auto' | 'always' | 'never' | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onPass?: ((call: PassCall, index: number, total: number) => void) | undefined;
  readonly onProgress?: ((done: number, total: number, what: string) => void) | undefined;
  readonly afterPass?: ((call: PassCall, graph: Graph, index: number | null) => void) | undefined;
}

/** Options with the defaults of those that name something. */
type Settled = CompileOptions & { readonly scheme: string; readonly target: string };

/** Compiles a model file: import, passes, lowering, export. Throws `QcError`; nothing is written unless all went well. */
export async function compile(given: CompileOptions): Promise<CompileReport> {
  const options: Settled = { ...given, scheme: given.scheme ?? defaults.scheme, target: given.target ?? defaultTarget().name };
  const target = targetNamed(targets, options.target);
  const manager = new PassManager([...passes, ...(options.plugins ?? [])]);
  const plan = manager.plan(effectivePipeline(manager, { ...options, target }));
  if (options.saveCalibration !== undefined) refuseUnsavable(plan);
  const graph = openModel(options.model);
  refuseQuantized(graph, options.model);
  const types = toFloat32(graph);
  const bytesBefore = bytesOfModel(options.model, graph);
  const tensors = tensorStore();
  const inputs = { ...(await calibrationInputs(graph, plan, options)), store: tensors.store };
  const executor = new OrtExecutor(options.threads === undefined ? {} : { threads: options.threads });
  const open: { close(): Promise<void> }[] = [executor, tensors];
  const closed = <T extends { close(): Promise<void> } | null>(one: T): T => {
    if (one) open.push(one);
    return one;
  };
  try {
    const probe = inputs.samples?.length ? await sampleAt(inputs.samples, 0) : syntheticFeeds(graph);
    const ctx = sweepContext(executor, options);
    const contract = closed(options.verify === false ? null : await firstRun(() => ContractCheck.start(ctx, graph, probe)));
    const ledger = new Ledger();
    const runPasses = (): Promise<RunReport> => runPlan(plan, graph, executor, contract, ledger, inputs, options);
    const run = await (contract ? runPasses() : firstRun(runPasses));
    const declined = declineFor(target, graph);
    const plain = { ...ctx, services: { ...ctx.services, executor: executor.plain } };
    const reference = closed(contract && (await referenceOf(graph, probe, plain)));
    const lowered = lower(graph, target);
    const lowering = { ...lowered, report: [...declined, ...lowered.report] };
    const diagnostics = [...run.diagnostics, ...enterLowering(ledger, lowering), ...nothingDone(run, ledger, schemeNamed(options.scheme))];
    ledger.settle();
    if (options.strict) refuseSkips(ledger, diagnostics);
    const checked = cloneGraph(graph);
    restoreTypes(graph, types);
    await describe(graph, plan, options);
    options.signal?.throwIfAborted();
    const { files, check } = await written(graph, options, (tensors) =>
      reference ? checkLowered(exchanged(checked, tensors), target, reference, { probe, ctx, executor }) : null,
    );
    return {
      model: options.model,
      pipeline: plan.text,
      scheme: options.scheme,
      target: target.name,
      files,
      bytesBefore,
      bytesAfter: files.reduce((n, f) => n + f.bytes, 0),
      ledger: ledger.entries,
      diagnostics: [...diagnostics, ...(check?.diagnostics ?? [])],
      passes: run.passes.map((p) => ({ call: p.call, counts: Object.fromEntries(p.counts), milliseconds: Math.round(p.milliseconds) })),
      left: leftAtRunTime(lowering.left),
      exactDifference: contract?.worst ?? null,
      loweringDifference: check?.difference ?? null,
    };
  } finally {
    for (const one of open.toReversed()) await one.close();
  }
}

interface CalibrationInputs extends Pick<Services, 'mask' | 'statistics'> {
  readonly samples: Samples | null;
}

async function calibrationInputs(graph: Graph, plan: Plan, options: CompileOptions): Promise<CalibrationInputs> {
  const samples = options.data && options.data.files.length > 0 ? await calibrationSamples(graph, options.data, options) : null;
  const statistics = options.calibration === undefined ? null : readStatistics(options.calibration);
  if (!samples && !statistics && flattened(plan.calls).some((c) => c.name === 'calibrate')) {
    fail('QC2101', 'this pipeline needs activation ranges, and there is no calibration data', undefined, {
      hint: 'give text with --calib FILE.txt --tokenizer tokenizer.json, or arrays with --calib FILE.npz',
    });
  }
  return { samples, mask: maskOf(graph, options.data), statistics };
}

async function calibrationSamples(graph: Graph, data: DataOptions, { decode = defaults.decode }: CompileOptions): Promise<Samples> {
  if (!(Number.isSafeInteger(decode) && decode >= 0)) fail('QC2003', `decode is a whole number, found ${decode}`);
  const samples = await samplesFor(graph, data, defaults.samples);
  const outputs = graph.outputs.map((v) => v.name);
  return withDecoding(samples, modelInputs(inputsOf(graph), data), outputs, decode);
}

/** Blocks in sequence have no observers any more when the next one is calibrated. */
function refuseUnsavable(plan: Plan): void {
  const isSequential = plan.calls.some((c) => c.inner && c.options['order'] === 'sequential');
  if (isSequential)
    fail('QC2007', 'ranges of blocks in sequence cannot be saved: each block depends on how those before it were quantized');
}

function runPlan(
  plan: Plan,
  graph: Graph,
  executor: OrtExecutor,
  contract: ContractCheck | null,
  ledger: Ledger,
  inputs: Omit<Services, 'executor' | 'spool'>,
  options: CompileOptions,
): Promise<RunReport> {
  return plan.run(graph, {
    services: { executor, spool: fileSpool, ...inputs },
    contract,
    ledger,
    ...(options.signal ? { signal: options.signal } : {}),
    ...(options.onPass ? { beforePass: options.onPass } : {}),
    ...(options.onProgress ? { progress: options.onProgress } : {}),
    afterPass(call, after, index) {
      if (call.name === 'calibrate' && options.saveCalibration !== undefined) writeStatistics(options.saveCalibration, after);
      options.afterPass?.(call, after, index);
    },
  });
}

/** Turns what the IR has into what the target has. */
function lower(graph: Graph, target: Target): Lowering {
  const lowering = lowerTo(target, graph);
  if (target.floats === 'f32') storeHalves(graph);
  settleOpset(graph);
  return lowering;
}

/** Writes the model beside its place, has it looked at, and moves it there; it is gone when it does not stand the look. */
async function written<T>(
  graph: Graph,
  { output, externalData = 'auto' }: Settled,
  look: (tensors: StagedModel['tensors']) => Promise<T> | null,
): Promise<{ readonly files: readonly WrittenFile[]; readonly check: T | null }> {
  const staged = stageModel(graph, output, { externalData });
  try {
    const check = await look(staged.tensors);
    return { files: staged.commit().files, check };
  } catch (error) {
    staged.discard();
    throw error;
  }
}

/** The graph with the constants that were written, so that none of them is computed again. */
function exchanged(graph: Graph, tensors: StagedModel['tensors']): Graph {
  for (const each of eachGraph(graph))
    for (const value of [...each.constants]) if (tensors.has(value.constant!)) exchange(each, value, tensors.get(value.constant!)!);
  return graph;
}

/**
 * The difference of a lowered graph to the fake-quantized graph that it was, as far as the target takes it. Both run without ORT's own
 * rewriting: an input that lies between two codes must not fall to different sides for the sake of a fused sum. What computes in f16 runs
 * with f16's rounding and range, which ONNX Runtime skips on a CPU. Then the lowered graph runs with rewriting, as it will for the user:
 * ONNX Runtime refuses some things only once it has fused them.
 */
async function checkLowered(
  graph: Graph,
  target: Target,
  reference: Reference,
  { probe, ctx, executor }: { readonly probe: Feeds; readonly ctx: SweepContext; readonly executor: OrtExecutor },
): Promise<{ readonly difference: number; readonly diagnostics: readonly Diagnostic[] }> {
  const halves = target.floats === 'f16';
  const checked = halves ? roundingHalves(graph) : cloneGraph(graph);
  inferTypes(checked);
  const { worst, divergence } = await compare(reference, checked, ctx, { tolerance: farthest, executor: executor.plain });
  const difference = divergence?.difference ?? worst;
  const overflow = halves && difference === Infinity ? [diagnostic('QC4005', `outputs on the probe are not finite`)] : [];
  if (overflow.length === 0 && !(difference <= farthest))
    fail('QC4006', `outputs on the probe differ by ${difference.toPrecision(2)} relative to those before lowering to ${target.name}`);
  await (await referenceOf(graph, probe, ctx)).close();
  return { difference, diagnostics: overflow };
}

/** What a sweep outside of the passes asks for. */
const sweepContext = (executor: OrtExecutor, { signal }: CompileOptions): SweepContext => ({
  services: { executor, spool: fileSpool },
  signal: signal ?? new AbortController().signal,
  progress: () => {},
});

/**
 * The largest relative difference that lowering may make. Values between two codes fall to either side, which at 4 bits moves an output by
 * some hundredths; a mistake moves it by as much as it is.
 */
const farthest = 0.25;

function refuseSkips(ledger: Ledger, diagnostics: readonly Diagnostic[]): void {
  const skipped = ledger.entries.filter((e) => e.kind !== 'norm' && e.left.some((why) => !ledger.isIntended(why)));
  const nothing = diagnostics.filter((d) => d.code === 'QC3303');
  if (skipped.length === 0 && nothing.length === 0) return;
  throw new QcError([
    ...nothing.map((d) => diagnostic('QC2201', d.message)),
    ...skipped.map((e) => diagnostic('QC2201', `${e.name}: ${e.left.join('; ')}`)),
    ...diagnostics.filter((d) => d.severity === 'error'),
  ]);
}

/** The model says how it was made: pipeline, scheme, target, and digests of what went in. */
async function describe(graph: Graph, plan: Plan, options: Settled): Promise<void> {
  graph.metadata.set('qc.pipeline', plan.text);
  graph.metadata.set('qc.scheme', options.scheme);
  graph.metadata.set('qc.target', options.target);
  graph.metadata.set('qc.model.sha256', await digestOfFiles([options.model]));
  const data = [...(options.data?.files ?? []), ...(options.calibration === undefined ? [] : [options.calibration])];
  if (data.length > 0) graph.metadata.set('qc.data.sha256', await digestOfFiles(data));
}
