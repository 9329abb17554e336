/** The library: what the commands of `qc` do, and what authors of passes need. */
export { bench, type BenchOptions, type LengthFigures, type ModelFigures } from './bench/bench.ts';
export { compile, type CompileOptions } from './compile.ts';
export type { CompileReport, LeftAtRunTime, PassFigures, WrittenFile } from './compile-report.ts';
export { evaluate, type Comparison, type EvaluateOptions, type Evaluation, type OutputError } from './eval/evaluate.ts';
export { perplexity, type Perplexity } from './eval/perplexity.ts';
export type { SiteError } from './eval/site-errors.ts';
export { generate, type GenerateOptions, type Generation, type Stretch } from './generate/generate.ts';
export { inspect, type Inspection } from './inspect.ts';
export { openModel } from './model.ts';
export { loadPlugins } from './plugins.ts';
export type { KernelChoice, KernelUse } from './runtime/kernel-use.ts';
export { OrtExecutor, type OrtOptions, type OrtProgram } from './runtime/ort-executor.ts';
export { runPipeline, type PipelineOptions } from './run-pipeline.ts';
export { samplesFor, type DataOptions } from './model-samples.ts';
export { lowerTo, readModel, targetNamed, targets, writeModel, type Target } from '../codegen/index.ts';
export * from '../ir/index.ts';
export * from '../passes/index.ts';
/** `int`, `float` and the like are options of passes here; the makers of attributes are `attributes.int` and so on. */
export { choice, flag, float, int, text } from '../passes/index.ts';
export * as attributes from '../ir/attributes.ts';
