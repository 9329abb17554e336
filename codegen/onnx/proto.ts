import { basename } from 'node:path';
import protobuf from 'protobufjs';
import { fail, QcError } from '../../ir/diagnostics.ts';
import type { Int64, Messages, ModelProto, Unknowns } from './proto-types.ts';
import { onnxSchema } from './schema.ts';

export type * from './proto-types.ts';

/** Where an error is reported: the file, and how a place in the decoded bytes maps to a place in it. */
export interface DecodeOrigin {
  readonly file?: string;
  readonly offsetInFile?: (offset: number) => number;
}

/** The model in `bytes`; bytes fields are views of them. Anything that is not a well-formed protobuf is QC4101. */
export const decodeModel = (bytes: Uint8Array, origin: DecodeOrigin = {}): ModelProto => decodeMessage('ModelProto', bytes, origin);

/** The bytes of a model that is small enough to hold in memory. */
export const encodeModel = (model: ModelProto): Uint8Array => encodeMessage('ModelProto', model);

/** One message on its own. Nesting deeper than 100 messages, the limit of every protobuf reader, is QC4101. */
function decodeMessage<K extends keyof Messages>(kind: K, bytes: Uint8Array, origin: DecodeOrigin = {}): Messages[K] {
  // A Buffer decodes strings natively, and its bytes fields are views too.
  const reader = protobuf.Reader.create(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  reader.discardUnknown = false;
  try {
    return types[kind].decode(reader);
  } catch (error) {
    if (error instanceof QcError) throw error;
    const offset = origin.offsetInFile ? origin.offsetInFile(reader.pos) : reader.pos;
    const reason = error instanceof Error ? error.message : String(error);
    return fail('QC4101', `the protobuf does not decode at byte ${offset}: ${reason}`, locate(origin.file));
  }
}

/** The bytes of one message, its fields in the order of their numbers and unknown ones behind them. */
export const encodeMessage = <K extends keyof Messages>(kind: K, message: Messages[K]): Uint8Array => types[kind].encode(message).finish();

/** An integer in the form that encodes without loss. */
export function int64(value: number | bigint): Int64 {
  const bits = BigInt.asUintN(64, BigInt(value));
  return { low: Number(bits & 0xffffffffn) | 0, high: Number(bits >> 32n) | 0, unsigned: false };
}

/** The exact integer, signed unless the field is unsigned. */
export function toBigInt(value: Int64): bigint {
  if (typeof value === 'number') return BigInt(value);
  const bits = (BigInt(value.high >>> 0) << 32n) | BigInt(value.low >>> 0);
  return value.unsigned ? bits : BigInt.asIntN(64, bits);
}

/** The integer as a number; not exact beyond 53 bits. */
export const toNumber = (value: Int64 | undefined): number => {
  if (value === undefined || typeof value === 'number') return value ?? 0;
  return (value.unsigned ? value.high >>> 0 : value.high | 0) * 0x1_0000_0000 + (value.low >>> 0);
};

/** The fields that a message really has, except the named ones; null when nothing is left. Its unknown fields stay. */
export function without<T extends Unknowns, K extends keyof T>(message: T, ...fields: readonly K[]): Omit<T, K> | null {
  const left: Partial<T> = { ...message };
  for (const name of fields) delete left[name];
  for (const name of Object.keys(left) as (keyof T)[]) {
    const value = left[name];
    if (value === null || value === undefined || (Array.isArray(value) && value.length === 0)) delete left[name];
  }
  // A decoded message holds its unknown fields where a spread does not see them.
  if (message.$unknowns?.length) Object.assign(left, { $unknowns: message.$unknowns });
  return Object.keys(left).length === 0 ? null : (left as Omit<T, K>);
}

const locate = (file: string | undefined) =>
  file === undefined ? { kind: 'unknown' as const } : { kind: 'onnx' as const, file: basename(file), node: '' };

// `resolveAll` settles editions; without it fields would have proto3 presence.
const root = protobuf.Root.fromJSON(onnxSchema);
root.resolveAll();

const types: Readonly<Record<keyof Messages, protobuf.Type>> = {
  ModelProto: root.lookupType('ModelProto'),
  GraphProto: root.lookupType('GraphProto'),
  NodeProto: root.lookupType('NodeProto'),
  AttributeProto: root.lookupType('AttributeProto'),
  TensorProto: root.lookupType('TensorProto'),
  SparseTensorProto: root.lookupType('SparseTensorProto'),
  ValueInfoProto: root.lookupType('ValueInfoProto'),
  TypeProto: root.lookupType('TypeProto'),
  FunctionProto: root.lookupType('FunctionProto'),
};
