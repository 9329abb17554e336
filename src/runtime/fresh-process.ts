import { fork, type ChildProcess } from 'node:child_process';
import type { Feeds } from '../../passes/infra/executor.ts';
import { feedsToWire } from './boundary.ts';
import { kernelOperatorsIn, kernelUse, type KernelChoice } from './kernel-use.ts';
import { openKernels } from './kernels.ts';
import type { SessionSettings, WireTensors } from './messages.ts';
import { placeOf, refuse, type Subject } from './refusal.ts';

/** What a process found that did nothing but run one model. */
export interface Footprint {
  /** Of loading the model. */
  readonly milliseconds: number;
  /** Bytes of its resident memory: before the model was loaded, after that, and at most. */
  readonly memory: { readonly empty: number; readonly loaded: number; readonly peak: number };
}

/** What the process is told. */
export interface FreshRun {
  readonly path: string;
  readonly loader: string | null;
  readonly settings: SessionSettings;
  readonly feeds: WireTensors;
  readonly runs: number;
  /** Where ONNX Runtime writes the times of the nodes: the beginning of a file's path. */
  readonly profile: string | null;
}

export type FreshReply = Footprint | { readonly doing: 'load' | 'run'; readonly failed: string };

export interface FreshOptions {
  readonly threads: number;
  readonly kernels: KernelChoice;
  readonly runs: number;
  readonly profile?: string;
  readonly signal?: AbortSignal | undefined;
}

/** Loads a model file and runs it in a process of its own, where nothing else takes memory. */
export async function inFreshProcess(path: string, feeds: Feeds, options: FreshOptions): Promise<Footprint> {
  const subject: Subject = { name: path, path, nodes: new Map() };
  const { use, options: extra } = kernelUse(kernelOperatorsIn(path), options.kernels);
  const settings: SessionSettings = {
    intraOpNumThreads: options.threads,
    executionProviders: ['cpu'],
    graphOptimizationLevel: 'all',
    ...extra,
  };
  const { runs, profile = null } = options;
  const loader = use === null || use.level === null ? null : openKernels().loader;
  const reply = await answerTo({ path, loader, settings, feeds: feedsToWire(feeds, placeOf(subject)), runs, profile }, options.signal);
  return 'failed' in reply ? refuse(subject, reply.doing, new Error(reply.failed)) : reply;
}

function answerTo(run: FreshRun, signal: AbortSignal | undefined): Promise<FreshReply> {
  const child: ChildProcess = fork(new URL('./fresh-process.mjs', import.meta.url), {
    serialization: 'advanced',
    // Our standard output holds data and nothing else.
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: [],
    ...(signal ? { signal } : {}),
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('message', (reply: FreshReply) => resolve(reply));
    child.on('exit', (code, by) => resolve({ doing: 'run', failed: `the process that ran it has ended (${by ?? `code ${code}`})` }));
    child.send(run);
  });
}
