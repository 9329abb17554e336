import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import type {
  AttributeProto,
  FunctionProto,
  GraphProto,
  ModelProto,
  NodeProto,
  TensorProto,
  ValueInfoProto,
} from '../../codegen/onnx/proto.ts';
import { encodeModel, int64 } from '../../codegen/onnx/proto.ts';
import { attributeTypes as kinds } from '../../codegen/onnx/schema.ts';
import { dataTypeOf } from '../../codegen/onnx/type-protos.ts';
import { QcError } from '../../ir/diagnostics.ts';
import type { DType } from '../../ir/types.ts';

/** A model of one graph, IR version 10 and operator set 21 unless told otherwise. */
export const model = (graph: GraphProto, more: Partial<ModelProto> = {}): Uint8Array =>
  encodeModel({ irVersion: int64(10), opsetImport: [{ domain: '', version: int64(21) }], graph: { name: 'g', ...graph }, ...more });

export const node = (opType: string, input: readonly string[], output: readonly string[], more: Partial<NodeProto> = {}): NodeProto => ({
  opType,
  input,
  output,
  name: `${opType}_${output[0]}`,
  ...more,
});

export const value = (name: string, dtype: DType, dims: readonly (number | string | null)[]): ValueInfoProto => ({
  name,
  type: {
    tensorType: {
      elemType: number(dtype),
      shape: { dim: dims.map((d) => (d === null ? {} : typeof d === 'string' ? { dimParam: d } : { dimValue: int64(d) })) },
    },
  },
});

export const raw = (name: string, dtype: DType, dims: readonly number[], rawData: Uint8Array): TensorProto => ({
  name,
  dataType: number(dtype),
  dims: dims.map((d) => int64(d)),
  rawData,
});

export const f32 = (name: string, dims: readonly number[], data: readonly number[]): TensorProto =>
  raw(name, 'f32', dims, new Uint8Array(Float32Array.from(data).buffer));

export const i64 = (name: string, dims: readonly number[], data: readonly number[]): TensorProto =>
  raw(name, 'i64', dims, new Uint8Array(BigInt64Array.from(data, BigInt).buffer));

export const number = (dtype: DType): number => dataTypeOf(dtype) ?? 0;

export const intAttribute = (name: string, i: number): AttributeProto => ({ name, type: kinds.int, i: int64(i) });
export const graphAttribute = (name: string, g: GraphProto): AttributeProto => ({ name, type: kinds.graph, g });
export const tensorAttribute = (name: string, t: TensorProto): AttributeProto => ({ name, type: kinds.tensor, t });

export const localFunction = (name: string, nodes: readonly NodeProto[], more: Partial<FunctionProto> = {}): FunctionProto => ({
  name,
  domain: 'local',
  input: ['x'],
  output: ['y'],
  node: nodes,
  opsetImport: [{ domain: '', version: int64(21) }],
  ...more,
});

/** The code of the QcError that `f` throws; anything else that it throws passes through. */
export function codeOf(f: () => unknown): string | null {
  try {
    f();
    return null;
  } catch (error) {
    if (error instanceof QcError) return error.code;
    throw error;
  }
}

/** Runs `f` in a folder of its own that is gone afterwards. */
export async function inFolder<T>(f: (folder: string) => T | Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'qc-onnx-'));
  try {
    return await f(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export type Feeds = Readonly<Record<string, ort.Tensor>>;

/** What a model computes in ONNX Runtime. */
export async function run(from: Uint8Array | string, feeds: Feeds): Promise<Record<string, unknown[]>> {
  // All levels of optimisation leave numbers alone only if none runs.
  const options: ort.InferenceSession.SessionOptions = { graphOptimizationLevel: 'disabled', logSeverityLevel: 3 };
  const session =
    typeof from === 'string' ? await ort.InferenceSession.create(from, options) : await ort.InferenceSession.create(from, options);
  try {
    const results = await session.run(feeds);
    return Object.fromEntries(Object.entries(results).map(([name, t]) => [name, Array.from(t.data as ArrayLike<unknown>)]));
  } finally {
    await session.release();
  }
}

export const floatsOf = (data: readonly number[], dims: readonly number[]): ort.Tensor =>
  new ort.Tensor('float32', Float32Array.from(data), dims);
export const boolOf = (data: boolean): ort.Tensor => new ort.Tensor('bool', [data], []);
export const longsOf = (data: readonly number[], dims: readonly number[]): ort.Tensor =>
  new ort.Tensor('int64', BigInt64Array.from(data, BigInt), dims);
