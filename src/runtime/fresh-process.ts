import type { Feeds } from '../../passes/infra/executor.ts';
import { feedsToWire } from './boundary.ts';
import { kernelOperatorsIn, kernelUse, type KernelChoice } from './kernel-use.ts';
import type { SessionSettings } from './process-messages.ts';
import { placeOf, type Subject } from './refusal.ts';
import { startSessionHost } from './session-host.ts';

/** What a process found that did nothing but run one model. */
export interface Footprint {
  /** Of loading the model. */
  readonly milliseconds: number;
  /** Bytes of its resident memory: before the model was loaded, after that, and at most. */
  readonly memory: { readonly empty: number; readonly loaded: number; readonly peak: number };
}

export interface FreshOptions {
  readonly threads: number;
  readonly kernels: KernelChoice;
  readonly runs: number;
  /** Where ONNX Runtime writes the times of the nodes: the beginning of a file's path. */
  readonly profile?: string;
  readonly signal?: AbortSignal | undefined;
}

/** Loads a model file and runs it in a process of its own, where nothing else takes memory. */
export async function inFreshProcess(path: string, feeds: Feeds, options: FreshOptions): Promise<Footprint> {
  const { signal } = options;
  signal?.throwIfAborted();
  const subject: Subject = { name: path, path, nodes: new Map() };
  const settings = settingsFor(path, options);
  const host = startSessionHost();
  signal?.addEventListener('abort', host.kill);
  try {
    const { now: empty } = await host.memory(subject);
    const session = await host.open(subject, settings);
    const { now: loaded } = await host.memory(subject);
    for (let run = 0; run < options.runs; run++) await session.time(feedsToWire(feeds, placeOf(subject)));
    const { peak } = await host.memory(subject);
    await session.close();
    return { milliseconds: session.milliseconds, memory: { empty, loaded, peak } };
  } finally {
    signal?.removeEventListener('abort', host.kill);
    await host.end();
  }
}

function settingsFor(path: string, { threads, kernels, profile }: FreshOptions): SessionSettings {
  return {
    intraOpNumThreads: threads,
    executionProviders: ['cpu'],
    graphOptimizationLevel: 'all',
    ...(profile === undefined ? {} : { enableProfiling: true, profileFilePrefix: profile }),
    ...kernelUse(kernelOperatorsIn(path), kernels).options,
  };
}
