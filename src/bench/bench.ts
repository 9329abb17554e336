import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Graph, TensorType } from '../../ir/index.ts';
import type { Feeds } from '../../passes/index.ts';
import { bytesOfModel } from '../compile-report.ts';
import { lookInto } from '../model.ts';
import { inFreshProcess, type Footprint, type FreshOptions } from '../runtime/fresh-process.ts';
import type { KernelChoice, KernelUse } from '../runtime/kernel-use.ts';
import { OrtExecutor, type OrtProgram } from '../runtime/ort-executor.ts';
import { temporaryFolders } from '../runtime/temporary-folders.ts';
import { benchInput, type BenchInput } from './feeds.ts';
import { operatorTimes, type OperatorTime, type ProfileEvent } from './profile.ts';
import { ratioTo, timesOf, type Times } from './times.ts';

export interface BenchOptions {
  /** Model files; the others are compared with the first. */
  readonly models: readonly string[];
  /** Lengths of the sequences that go in. */
  readonly seq: readonly number[];
  /** Tokens in the caches of a model that takes any. */
  readonly past: number;
  /** Timed runs of each model at each length. */
  readonly runs: number;
  readonly threads: number;
  readonly kernels: KernelChoice;
  /** Also sum up the time by operator. */
  readonly profile: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number, what: string) => void) | undefined;
}

/** One model at one length. */
export interface LengthFigures {
  readonly seq: number;
  /** What went in, by name. */
  readonly inputs: Readonly<Record<string, TensorType>>;
  /** Of one forward pass, in milliseconds. */
  readonly times: Times;
  /** Null for a model that takes no sequence. */
  readonly tokensPerSecond: number | null;
  /** To the first model. */
  readonly ratio: number;
  readonly operators?: readonly OperatorTime[];
}

export interface ModelFigures {
  readonly model: string;
  /** Of the file and of its external data. */
  readonly bytes: number;
  /** How the operators of the library of kernels ran; null for a model without any. */
  readonly kernels: KernelUse | null;
  /** Milliseconds of loading it in a fresh process. */
  readonly load: number;
  /** Bytes resident in that process, the longest sequence having run once. */
  readonly memory: Footprint['memory'];
  readonly lengths: readonly LengthFigures[];
}

/** Untimed runs of each model at each length. */
const warmUps = 2;

interface Subject {
  readonly path: string;
  readonly graph: Graph;
  /** By length. */
  readonly inputs: readonly BenchInput[];
}

/** Measures models: memory and loading each in a process of its own, then time in turns, so that a busy machine slows all of them. */
export async function bench(options: BenchOptions): Promise<readonly ModelFigures[]> {
  const models = options.models.map((path) => ({ path, graph: lookInto(path) }));
  const subjects = models.map(({ path, graph }): Subject => {
    return { path, graph, inputs: options.seq.map((sequence) => benchInput(graph, { sequence, past: options.past })) };
  });
  const progress = counter(options, subjects.length * (1 + options.seq.length * (warmUps + options.runs + (options.profile ? 1 : 0))));
  const footprints: Footprint[] = [];
  for (const subject of subjects) {
    footprints.push(await footprint(subject, options));
    progress();
  }
  const { uses, samples } = await timed(subjects, options, progress);
  const figures: ModelFigures[] = [];
  for (const [m, subject] of subjects.entries()) {
    const { milliseconds: load, memory } = footprints[m]!;
    const lengths: LengthFigures[] = [];
    for (const [l, seq] of options.seq.entries()) {
      const operators = options.profile ? { operators: await profiled(subject, l, options) } : {};
      if (options.profile) progress();
      const [own, base] = [samples[l]![m]!, samples[l]![0]!];
      const times = timesOf(own);
      const { tokens, feeds } = subject.inputs[l]!;
      const tokensPerSecond = tokens === null ? null : (1000 * tokens) / times.median;
      lengths.push({ seq, inputs: typesOf(feeds), times, tokensPerSecond, ratio: ratioTo(base, own), ...operators });
    }
    figures.push({ model: subject.path, bytes: bytesOfModel(subject.path, subject.graph), kernels: uses[m]!, load, memory, lengths });
  }
  return figures;
}

const typesOf = (feeds: Feeds): Readonly<Record<string, TensorType>> =>
  Object.fromEntries(Object.entries(feeds).map(([name, { dtype, shape }]) => [name, { dtype, shape }]));

function counter({ onProgress, signal }: BenchOptions, total: number): () => void {
  let done = 0;
  return () => {
    signal?.throwIfAborted();
    onProgress?.(++done, total, 'runs');
  };
}

interface Timed {
  readonly uses: readonly (KernelUse | null)[];
  /** Milliseconds by length, model and round. */
  readonly samples: readonly (readonly (readonly number[])[])[];
}

async function timed(subjects: readonly Subject[], options: BenchOptions, progress: () => void): Promise<Timed> {
  const executor = new OrtExecutor({ threads: options.threads, kernels: options.kernels });
  try {
    const programs: OrtProgram[] = [];
    for (const { path } of subjects) programs.push(await executor.openFile(path));
    const samples: number[][][] = [];
    for (const l of options.seq.keys()) {
      const times = subjects.map((): number[] => []);
      for (let round = -warmUps; round < options.runs; round++)
        for (const [m, program] of programs.entries()) {
          const time = await program.time(subjects[m]!.inputs[l]!.feeds);
          if (round >= 0) times[m]!.push(time);
          progress();
        }
      samples.push(times);
    }
    return { uses: programs.map((p) => p.kernels), samples };
  } finally {
    await executor.close();
  }
}

const freshOptions = ({ threads, kernels, signal }: BenchOptions, runs: number): FreshOptions => ({ threads, kernels, signal, runs });

/** Processes that load a model; what counts is the one with the median time. */
const loads = 3;

async function footprint({ path, inputs }: Subject, options: BenchOptions): Promise<Footprint> {
  const longest = inputs.toSorted((a, b) => (b.tokens ?? 0) - (a.tokens ?? 0))[0]!;
  const found: Footprint[] = [];
  for (let i = 0; i < loads; i++) found.push(await inFreshProcess(path, longest.feeds, freshOptions(options, 1)));
  return found.sort((a, b) => a.milliseconds - b.milliseconds)[loads >> 1]!;
}

async function profiled({ path, inputs }: Subject, length: number, options: BenchOptions): Promise<readonly OperatorTime[]> {
  const folders = temporaryFolders();
  const folder = folders.make();
  try {
    await inFreshProcess(path, inputs[length]!.feeds, { ...freshOptions(options, 1 + options.runs), profile: join(folder, 'profile') });
    const [name = ''] = readdirSync(folder);
    return operatorTimes(JSON.parse(readFileSync(join(folder, name), 'utf8')) as readonly ProfileEvent[]);
  } finally {
    folders.removeAll();
  }
}
