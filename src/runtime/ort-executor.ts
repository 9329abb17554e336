import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { executable } from '../../codegen/executable.ts';
import { writeModel } from '../../codegen/onnx/index.ts';
import type { Graph } from '../../ir/graph.ts';
import type { Executor, Feeds, Program } from '../../passes/infra/executor.ts';
import { crosses, feedsFromWire, feedsToWire, portFrom, refuseToCross, type Port } from './boundary.ts';
import { countKernelOperators, kernelOperatorsIn, kernelUse, type KernelChoice, type KernelUse } from './kernel-use.ts';
import type { SessionSettings } from './messages.ts';
import { placeOf, refuse, type Subject } from './refusal.ts';
import { startSessionHost, type SessionHost } from './session-host.ts';
import { temporaryFolders } from './temporary-folders.ts';

export interface OrtOptions {
  /** Threads of one operator; all cores by default. */
  readonly threads?: number;
  readonly executionProviders?: readonly string[];
  readonly optimization?: SessionSettings['graphOptimizationLevel'];
  /** `auto`, the default: models use the library of kernels where it is built; `off`: function bodies stand in for it. */
  readonly kernels?: KernelChoice;
}

/** A program with the inputs and outputs that ONNX Runtime reports. */
export interface OrtProgram extends Program {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** How operators that the library of kernels has are computed; null for a program without any. */
  readonly kernels: KernelUse | null;
  /** Runs once, and gives the milliseconds that it took in the worker. */
  time(feeds: Feeds): Promise<number>;
}

/** ONNX Runtime in a worker thread, which starts with the first load. Runs of all its programs follow one another. */
export class OrtExecutor implements Executor {
  readonly #settings: Omit<SessionSettings, 'extra'>;
  readonly #kernels: KernelChoice;
  readonly #folders = temporaryFolders();
  #host: SessionHost | null = null;
  constructor(options: OrtOptions = {}) {
    this.#settings = {
      intraOpNumThreads: options.threads ?? availableParallelism(),
      executionProviders: options.executionProviders ?? ['cpu'],
      graphOptimizationLevel: options.optimization ?? 'all',
    };
    this.#kernels = options.kernels ?? 'auto';
  }

  /** Writes the graph into a temporary folder, which ONNX Runtime maps into memory and which lasts until the program is closed. */
  async load(graph: Graph): Promise<OrtProgram> {
    const folder = this.#folders.make();
    const subject = subjectOf(graph, join(folder, 'model.onnx'));
    const release = (): void => this.#folders.remove(folder);
    try {
      checkBoundary(graph, subject);
      writeModel(executable(graph), subject.path, { externalData: 'always' });
      return await this.#open(subject, countKernelOperators(graph), release);
    } catch (error) {
      release();
      throw error;
    }
  }

  /** A program from a model file on disk, which must stay there until the program is closed. */
  async openFile(path: string): Promise<OrtProgram> {
    return this.#open({ name: path, path, nodes: new Map() }, kernelOperatorsIn(path), () => {});
  }

  /** Ends the worker with all its programs and removes their folders. A later load starts a new worker. */
  async close(): Promise<void> {
    const host = this.#host;
    this.#host = null;
    await host?.end();
    this.#folders.removeAll();
  }

  async #open(subject: Subject, operators: number, release: () => void): Promise<OrtProgram> {
    const { use, options } = kernelUse(operators, this.#kernels, this.#settings);
    const host = (this.#host ??= startSessionHost());
    const opened = await host
      .open(subject.path, { ...this.#settings, ...options })
      .catch((error: unknown) => refuse(subject, 'load', error));
    const at = placeOf(subject);
    const close = async (): Promise<void> => {
      // A worker that has ended holds no session any more.
      await host.close(opened.session).catch(() => {});
      release();
    };
    try {
      return {
        inputs: opened.inputs.map((port) => portFrom('input', port, at)),
        outputs: opened.outputs.map((port) => portFrom('output', port, at)),
        run: async (feeds) => {
          const outputs = host.run(opened.session, feedsToWire(feeds, at));
          return feedsFromWire(await outputs.catch((error: unknown) => refuse(subject, 'run', error)));
        },
        time: (feeds) => host.time(opened.session, feedsToWire(feeds, at)).catch((error: unknown) => refuse(subject, 'run', error)),
        kernels: use,
        close,
      };
    } catch (error) {
      await close();
      throw error;
    }
  }
}

/** Places by node name are read at once: the graph may change before a run fails. */
const subjectOf = (graph: Graph, path: string): Subject => ({
  name: graph.name === '' ? 'graph' : graph.name,
  path,
  nodes: new Map([...graph.nodes].filter((n) => n.name !== '').map((n) => [n.name, n.loc])),
});

function checkBoundary(graph: Graph, subject: Subject): void {
  for (const [role, values] of [
    ['input', graph.inputs],
    ['output', graph.outputs],
  ] as const)
    for (const { name, type, producer } of values)
      if (type && !crosses(type.dtype)) refuseToCross(role, name, type.dtype, placeOf(subject, producer?.name));
}
