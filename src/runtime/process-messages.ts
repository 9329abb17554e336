import type { TypedData } from '../../ir/tensor.ts';
import type { SessionExtras } from './kernel-use.ts';

/** How a session is made, in the words of onnxruntime-node. */
export interface SessionSettings extends SessionExtras {
  readonly intraOpNumThreads: number;
  readonly executionProviders: readonly string[];
  readonly graphOptimizationLevel: 'disabled' | 'basic' | 'extended' | 'all';
  /** Whether it writes the times of its nodes when it is closed, and to where: the beginning of a file's path. */
  readonly enableProfiling?: boolean;
  readonly profileFilePrefix?: string;
}

/** The element types of onnxruntime-node that cross the boundary as typed arrays. */
export type RuntimeType =
  | 'float32'
  | 'float16'
  | 'float64'
  | 'int8'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'uint8'
  | 'uint16'
  | 'uint32'
  | 'uint64'
  | 'bool';

export interface WireTensor {
  readonly type: RuntimeType;
  readonly dims: readonly number[];
  readonly data: TypedData;
}

export type WireTensors = Readonly<Record<string, WireTensor>>;

/** A tensor in a message; a large array lies in a file, which the reader removes. */
export interface PackedTensor {
  readonly type: RuntimeType;
  readonly dims: readonly number[];
  readonly data: TypedData | { readonly file: string; readonly elements: number };
}

export type PackedTensors = Readonly<Record<string, PackedTensor>>;

/** An input or output as ONNX Runtime describes it; `type` is null for what is no tensor. */
export interface WirePort {
  readonly name: string;
  readonly type: string | null;
  readonly shape: readonly (number | string)[];
}

export interface OpenedSession {
  readonly session: number;
  readonly inputs: readonly WirePort[];
  readonly outputs: readonly WirePort[];
  /** Of loading the model. */
  readonly milliseconds: number;
}

/** Inputs of the next step by the outputs that become them. */
export type Carry = Readonly<Record<string, string>>;

/** What a step gave but for what is carried. */
export interface Stepped {
  readonly outputs: PackedTensors;
  /** Of ONNX Runtime alone. */
  readonly milliseconds: number;
}

/** Bytes of resident memory of the process: now, and at most until now. */
export interface Memory {
  readonly now: number;
  readonly peak: number;
}

export type Request =
  /** `root`: where the side files of the model are looked for; beside the model by default. */
  | { readonly kind: 'open'; readonly path: string; readonly root?: string; readonly settings: SessionSettings }
  | { readonly kind: 'run'; readonly session: number; readonly feeds: PackedTensors }
  | { readonly kind: 'step'; readonly session: number; readonly feeds: PackedTensors; readonly carry: Carry }
  | { readonly kind: 'time'; readonly session: number; readonly feeds: PackedTensors }
  | { readonly kind: 'memory' }
  | { readonly kind: 'close'; readonly session: number };

export type Answer = OpenedSession | PackedTensors | Stepped | Memory | number | null;

export type Reply =
  | { readonly kind: 'done'; readonly answer: Answer }
  | { readonly kind: 'failed'; readonly message: string; readonly code: string | null };
