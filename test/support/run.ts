import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { QcError, type DiagnosticCode, type Graph, type Value } from '../../ir/index.ts';
import { random } from '../../ir/text/numbers.ts';
import { sizeOf } from '../../ir/types.ts';
import {
  PassManager,
  passes,
  ContractCheck,
  reductions,
  Ledger,
  type Executor,
  type Feeds,
  type HostTensor,
  type Pass,
  type PassContext,
  type RunReport,
  type Samples,
  type Services,
  type SweepContext,
} from '../../passes/index.ts';
import { openModel } from '../../src/model.ts';
import { OrtExecutor } from '../../src/runtime/ort-executor.ts';
import { fileSpool } from '../../src/runtime/spool.ts';

/** Every fact, so that a test may start in the middle of a pipeline. */
export const everyFact = ['raised', 'sites', 'observed', 'calibrated', 'folded', 'quantized'] as const;

export interface RunOptions {
  readonly samples?: Samples | null;
  readonly facts?: readonly string[];
  readonly contract?: ContractCheck | null;
  readonly more?: readonly Pass[];
  readonly afterPass?: (name: string, graph: Graph) => void;
  readonly store?: Services['store'];
  readonly statistics?: Services['statistics'];
}

/** Keeps tensors where they are. */
export const inMemory: Services['store'] = (tensor) => tensor;

/** Runs a pipeline over `graph`. */
export function runPipeline(executor: Executor, graph: Graph, pipeline: string, options: RunOptions = {}): Promise<RunReport> {
  const manager = new PassManager([...passes, ...(options.more ?? [])]);
  return manager.plan(pipeline, options.facts ?? []).run(graph, {
    services: {
      executor,
      spool: fileSpool,
      store: options.store ?? inMemory,
      samples: options.samples ?? null,
      mask: 'attention_mask',
      statistics: options.statistics ?? null,
    },
    contract: options.contract ?? null,
    afterPass: ({ name }, after) => options.afterPass?.(name, after),
  });
}

/** What a sweep outside of a pass asks for. */
export const sweepContext = (executor: Executor): SweepContext => ({
  services: { executor, spool: fileSpool },
  signal: new AbortController().signal,
  progress: () => {},
});

/** What a pass gets that is run by itself. */
export const passContext = (executor: Executor, samples: Samples, mask: string | null = null): PassContext => ({
  ...sweepContext(executor),
  services: { executor, spool: fileSpool, store: inMemory, samples, mask, statistics: null },
  ledger: new Ledger(),
  report: () => {},
  count: () => {},
  observes: [reductions.range, reductions.average, reductions.tokenRange],
  inner: null,
});

/** A check of contracts on one sample. */
export const contractOn = (executor: Executor, graph: Graph, probe: Feeds): Promise<ContractCheck> =>
  ContractCheck.start(sweepContext(executor), graph, probe);

/** ONNX Runtime that does exactly what the graph says, or with all its own rewriting. */
export const plainExecutor = (): OrtExecutor => new OrtExecutor({ threads: 1, optimization: 'disabled' });
export const fusingExecutor = (): OrtExecutor => new OrtExecutor({ threads: 1 });

export const f32 = (shape: readonly number[], data: ArrayLike<number>): HostTensor => ({
  dtype: 'f32',
  shape,
  data: Float32Array.from(data),
});
export const i64 = (shape: readonly number[], data: ArrayLike<number>): HostTensor => ({
  dtype: 'i64',
  shape,
  data: BigInt64Array.from(Array.from(data), BigInt),
});

/** Deterministic numbers in (-1, 1). */
export function numbers(count: number, seed: number): Float32Array {
  return Float32Array.from({ length: count }, random(seed));
}
export const randomFeed = (shape: readonly number[], seed: number, scale = 1): HostTensor =>
  f32(
    shape,
    numbers(sizeOf(shape), seed).map((x) => x * scale),
  );

/** The f32 elements of one output. */
export function elements(feeds: Feeds, name: string): Float32Array {
  const data = feeds[name]?.data;
  if (!(data instanceof Float32Array)) throw new Error(`no f32 output ${name}`);
  return data;
}

/** How near two arrays are in direction: 1 where they agree. */
export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.NaN;
  let [both, left, right] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    both += a[i]! * b[i]!;
    left += a[i]! ** 2;
    right += b[i]! ** 2;
  }
  return both / Math.sqrt(left * right);
}

interface SavedArray {
  readonly dtype: string;
  readonly dims: readonly number[];
  readonly data: readonly number[];
}
interface Saved {
  readonly inputs: Readonly<Record<string, SavedArray>>;
  readonly outputs: Readonly<
    Record<string, { readonly dims: readonly number[]; readonly data: readonly number[]; readonly tail: readonly number[] }>
  >;
}

export const fixtureNames = [
  'bert-tiny-op13',
  'bert-tiny-op17',
  'bert-tiny-sdpa-op17',
  'encoder-mha-op17',
  'gpt2-tiny-op17',
  'opt-tiny-op13',
] as const;
export type FixtureName = (typeof fixtureNames)[number];
export const fixturePath = (name: FixtureName): string => `test/fixtures/exported/${name}.onnx`;
export const openFixture = (name: FixtureName): Graph => openModel(fixturePath(name));

/** The inputs that the exporter ran, and what it got. */
export function fixtureData(name: FixtureName): { readonly feeds: Feeds; readonly expected: Saved['outputs'] } {
  const saved = JSON.parse(readFileSync(`test/fixtures/exported/${name}.json`, 'utf8')) as Saved;
  const feeds = Object.entries(saved.inputs).map(
    ([k, { dtype, dims, data }]) => [k, dtype === 'int64' ? i64(dims, data) : f32(dims, data)] as const,
  );
  return { feeds: Object.fromEntries(feeds), expected: saved.outputs };
}

/** Calibration samples for a fixture: batches of one with other tokens, the last of them padded where there is a mask. */
export function fixtureSamples(name: FixtureName, count: number): readonly Feeds[] {
  const { feeds } = fixtureData(name);
  return Array.from({ length: count }, (_, s) =>
    Object.fromEntries(
      Object.entries(feeds).map(([input, t]): [string, HostTensor] => {
        const shape = [1, ...t.shape.slice(1)];
        const length = sizeOf(shape);
        if (t.dtype === 'f32') return [input, randomFeed(shape, 100 + s, 2)];
        if (input === 'input_ids')
          return [
            input,
            i64(
              shape,
              Array.from({ length }, (_, i) => 2 + ((s * 977 + i * 131 + 7) % 350)),
            ),
          ];
        if (input === 'attention_mask')
          return [
            input,
            i64(
              shape,
              Array.from({ length }, (_, i) => (s === count - 1 && i >= 9 ? 0 : 1)),
            ),
          ];
        return [input, i64(shape, new Array<number>(length).fill(0))];
      }),
    ),
  );
}

/** The code and message of the QcError that `f` throws; null when it throws none. */
export function errorOf(f: () => unknown): { readonly code: DiagnosticCode; readonly message: string } | null {
  try {
    f();
    return null;
  } catch (error) {
    if (error instanceof QcError) return { code: error.code, message: error.message };
    throw error;
  }
}

export function valueNamed(graph: Graph, name: string): Value {
  const found = [...graph.inputs, ...graph.constants, ...[...graph.nodes].flatMap((n) => n.outputs)].find((v) => v.name === name);
  if (!found) throw new Error(`no value %${name}`);
  return found;
}

export const opsOf = (graph: Graph): readonly string[] => [...graph.nodes].map((n) => n.op);

/** A path that no other test uses. */
export const temporaryPath = (name: string): string => join(tmpdir(), `qc-test-${process.pid}-${name}`);
