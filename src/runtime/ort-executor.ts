import { availableParallelism } from 'node:os';
import { join, parse } from 'node:path';
import { executable } from '../../codegen/executable.ts';
import { writeForRuntime } from '../../codegen/onnx/index.ts';
import { QcError } from '../../ir/diagnostics.ts';
import type { Graph } from '../../ir/graph.ts';
import type { Executor, Feeds, Program } from '../../passes/infra/executor.ts';
import { crosses, feedsFromWire, feedsToWire, portFrom, refuseToCross, type Port } from './boundary.ts';
import { countKernelOperators, kernelOperatorsIn, kernelUse, type KernelChoice, type KernelUse } from './kernel-use.ts';
import { temporaryFolderFails } from './machine-faults.ts';
import type { Carry, SessionSettings } from './process-messages.ts';
import { placeOf, type Subject } from './refusal.ts';
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
  /**
   * Runs once. Outputs that `carry` names stay in the process, and are fed to the inputs that it gives for them in the next step; a cache
   * never crosses the boundary. The milliseconds are those of ONNX Runtime alone.
   */
  step(feeds: Feeds, carry: Carry): Promise<{ readonly outputs: Feeds; readonly milliseconds: number }>;
  /** Runs once, and gives the milliseconds that it took ONNX Runtime. */
  time(feeds: Feeds): Promise<number>;
}

/** ONNX Runtime in a child process, which starts with the first load. Runs of all its programs follow one another. */
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

  /** The same process, without ONNX Runtime's own rewriting: graphs run as they are written. */
  get plain(): Executor {
    return { load: (graph) => this.#load(graph, 'disabled') };
  }

  /** ONNX Runtime maps weights from the files that they lie in; what was computed lies in a temporary folder until the program is closed. */
  async load(graph: Graph): Promise<OrtProgram> {
    return this.#load(graph, this.#settings.graphOptimizationLevel);
  }

  async #load(graph: Graph, optimization: SessionSettings['graphOptimizationLevel']): Promise<OrtProgram> {
    const folder = this.#folders.make();
    const subject = subjectOf(graph, join(folder, 'model.onnx'));
    const release = (): void => this.#folders.remove(folder);
    try {
      checkBoundary(graph, subject);
      writeTemporary(executable(graph), subject.path);
      return await this.#open(subject, countKernelOperators(graph), { release, optimization, root: parse(folder).root });
    } catch (error) {
      release();
      throw error;
    }
  }

  /** How the operators of a graph that the library of kernels has are computed here; null for a graph without any. */
  kernelsOf(graph: Graph): KernelUse | null {
    return kernelUse(countKernelOperators(graph), this.#kernels, this.#settings).use;
  }

  /** A program from a model file on disk, which must stay there until the program is closed. */
  async openFile(path: string): Promise<OrtProgram> {
    return this.#open({ name: path, path, nodes: new Map() }, kernelOperatorsIn(path), { release: () => {} });
  }

  /** Ends the process with all its programs and removes their folders. A later load starts a new one, as it does after a crash. */
  async close(): Promise<void> {
    const host = this.#host;
    this.#host = null;
    await host?.end();
    this.#folders.removeAll();
  }

  async #open(subject: Subject, operators: number, { release, optimization, root }: Opening): Promise<OrtProgram> {
    const { use, options } = kernelUse(operators, this.#kernels, this.#settings);
    if (!this.#host?.alive) this.#host = startSessionHost();
    const graphOptimizationLevel = optimization ?? this.#settings.graphOptimizationLevel;
    const session = await this.#host.open(subject, { ...this.#settings, graphOptimizationLevel, ...options }, root);
    const at = placeOf(subject);
    const close = async (): Promise<void> => {
      await session.close();
      release();
    };
    try {
      return {
        inputs: session.inputs.map((port) => portFrom('input', port, at)),
        outputs: session.outputs.map((port) => portFrom('output', port, at)),
        run: async (feeds) => feedsFromWire(await session.run(feedsToWire(feeds, at))),
        step: async (feeds, carry) => {
          const { outputs, milliseconds } = await session.step(feedsToWire(feeds, at), carry);
          return { outputs: feedsFromWire(outputs), milliseconds };
        },
        time: async (feeds) => session.time(feedsToWire(feeds, at)),
        kernels: use,
        close,
      };
    } catch (error) {
      await close();
      throw error;
    }
  }
}

/** How a model file becomes a program. */
interface Opening {
  /** Runs when the program is closed. */
  readonly release: () => void;
  readonly optimization?: SessionSettings['graphOptimizationLevel'];
  /** Where its side files are looked for; beside the model by default. */
  readonly root?: string;
}

/** What `writeForRuntime` says of an output is true of the temporary folder here. */
function writeTemporary(graph: Graph, path: string): void {
  try {
    writeForRuntime(graph, path);
  } catch (error) {
    throw error instanceof QcError && error.code === 'QC4201' ? temporaryFolderFails(error.diagnostics[0]!.message) : error;
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
