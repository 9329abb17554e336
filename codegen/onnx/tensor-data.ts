import type { DType } from '../../ir/types.ts';
import type { TensorProto } from './proto-types.ts';
import { toBigInt } from './proto.ts';

/** The fields of a tensor that hold elements by their own kind. */
export const typedFields = ['floatData', 'int32Data', 'stringData', 'int64Data', 'doubleData', 'uint64Data'] as const;
export type TypedField = (typeof typedFields)[number];

/** The field in which ONNX keeps elements of this type when they are not packed. */
export function fieldOf(dtype: DType): TypedField {
  switch (dtype) {
    case 'f32':
    case 'c64':
      return 'floatData';
    case 'f64':
    case 'c128':
      return 'doubleData';
    case 'i64':
      return 'int64Data';
    case 'u32':
    case 'u64':
      return 'uint64Data';
    case 'string':
      return 'stringData';
    default:
      return 'int32Data';
  }
}

/** The packed little-endian bytes of the elements in the field of `dtype`. Narrow elements are bit patterns in 32-bit integers. */
export function packTyped(tensor: TensorProto, dtype: DType): Uint8Array {
  switch (fieldOf(dtype)) {
    case 'floatData':
      return bytesOf(Float32Array.from(tensor.floatData ?? []));
    case 'doubleData':
      return bytesOf(Float64Array.from(tensor.doubleData ?? []));
    case 'int64Data':
      return bytesOf(BigInt64Array.from(tensor.int64Data ?? [], toBigInt));
    case 'uint64Data':
      return dtype === 'u64'
        ? bytesOf(BigUint64Array.from(tensor.uint64Data ?? [], toBigInt))
        : bytesOf(Uint32Array.from(tensor.uint64Data ?? [], (v) => Number(BigInt.asUintN(32, toBigInt(v)))));
    case 'stringData':
      return packStrings(tensor.stringData ?? []);
    case 'int32Data':
      return packInt32(tensor.int32Data ?? [], dtype);
  }
}

/** Strings as bytes: each one's length in four bytes, then the string. The data of a tensor whose type is `string`. */
function packStrings(strings: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(strings.reduce((n, s) => n + 4 + s.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const text of strings) {
    view.setUint32(at, text.length, true);
    bytes.set(text, at + 4);
    at += 4 + text.length;
  }
  return bytes;
}

/** The inverse of `packStrings`. */
export function unpackStrings(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const strings: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + 4 + view.getUint32(at, true);
    strings.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return strings;
}

function packInt32(values: readonly number[], dtype: DType): Uint8Array {
  switch (dtype) {
    case 'i32':
      return bytesOf(Int32Array.from(values));
    case 'i16':
    case 'u16':
    case 'f16':
    case 'bf16':
      return bytesOf(Uint16Array.from(values));
    default:
      // One byte each; sub-byte elements are already packed, a byte to an integer.
      return Uint8Array.from(values);
  }
}

const bytesOf = (data: ArrayBufferView): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
