import type { Graph } from '../../ir/graph.ts';
import type { TypedData } from '../../ir/tensor.ts';
import type { DType, TensorType } from '../../ir/types.ts';

/** An array at the boundary of a graph that runs: f16 as Uint16Array, bool as Uint8Array, i64 as BigInt64Array. */
export interface HostTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TypedData;
}

/** The type of an array, its extents left open. */
export const typeOfArray = (array: HostTensor | undefined): TensorType | null =>
  array ? { dtype: array.dtype, shape: array.shape.map(() => null) } : null;

/** Arrays by the name of the graph input or output. */
export type Feeds = Readonly<Record<string, HostTensor>>;

/** The arrays of these names, as far as there are any. */
export const pick = (feeds: Feeds, names: Iterable<string>): Feeds =>
  Object.fromEntries([...names].flatMap((name) => (feeds[name] ? [[name, feeds[name]] as const] : [])));

/** A graph that is loaded and ready to run. */
export interface Program {
  /** Runs once. Throws QC5001 when the runtime refuses. */
  run(feeds: Feeds): Promise<Feeds>;
  close(): Promise<void>;
}

/** What a pass asks for when it must compute: ONNX Runtime behind an interface. `src/runtime` implements it. */
export interface Executor {
  /** Loads `graph`, whose outputs are what a run gives. The graph is not changed and may be changed afterwards. */
  load(graph: Graph): Promise<Program>;
}

/** Runs `graph` on one set of feeds. */
export async function runOnce(executor: Executor, graph: Graph, feeds: Feeds): Promise<Feeds> {
  const program = await executor.load(graph);
  try {
    return await program.run(feeds);
  } finally {
    await program.close();
  }
}

/** Keeps arrays between the blocks of a run, outside the memory of the process. */
export interface Spool {
  put(key: string, feeds: Feeds): Promise<void>;
  get(key: string): Promise<Feeds>;
  close(): Promise<void>;
}
