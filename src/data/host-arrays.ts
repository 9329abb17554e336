import { floatsFromHalf, halfFromFloat } from '../../ir/float16.ts';
import { isFloat, type DType } from '../../ir/types.ts';
import type { TypedData } from '../../ir/tensor.ts';
import type { HostTensor } from '../../passes/infra/executor.ts';

const kinds = {
  f32: Float32Array,
  f16: Uint16Array,
  f64: Float64Array,
  i8: Int8Array,
  i16: Int16Array,
  i32: Int32Array,
  i64: BigInt64Array,
  u8: Uint8Array,
  u16: Uint16Array,
  u32: Uint32Array,
  u64: BigUint64Array,
  bool: Uint8Array,
} as const satisfies Partial<Record<DType, unknown>>;

/** The element types that have a typed array. */
export type HostDType = keyof typeof kinds;

export const isHostDType = (dtype: DType): dtype is HostDType => Object.hasOwn(kinds, dtype);

/** Packed little-endian bytes as elements, without a copy if they are aligned. */
export function elementsOf(dtype: HostDType, bytes: Uint8Array): TypedData {
  const Kind: ViewKind = kinds[dtype];
  const fitting = bytes.byteOffset % Kind.BYTES_PER_ELEMENT === 0 ? bytes : Uint8Array.from(bytes);
  return new Kind(fitting.buffer, fitting.byteOffset, fitting.byteLength / Kind.BYTES_PER_ELEMENT);
}

interface ViewKind {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): TypedData;
}

/** `count` elements that all are `value`. */
export const filled = (dtype: HostDType, shape: readonly number[], count: number, value: number): HostTensor => ({
  dtype,
  shape,
  data: fromNumbers(dtype, new Float64Array(count).fill(value))!,
});

/** `source` with elements of another type; null when one of them does not fit there. */
export function convert(source: HostTensor, dtype: HostDType): HostTensor | null {
  if (source.dtype === dtype) return source;
  if (isFloat(source.dtype) && !isFloat(dtype)) return null;
  const data = fromNumbers(dtype, source.dtype === 'f16' && source.data instanceof Uint16Array ? floatsFromHalf(source.data) : source.data);
  return data && { dtype, shape: source.shape, data };
}

/** Numbers as elements of `dtype`; null when one of them does not fit there. */
export function fromNumbers(dtype: HostDType, numbers: ArrayLike<number | bigint>): TypedData | null {
  switch (dtype) {
    case 'f32':
      return Float32Array.from(numbers, Number);
    case 'f64':
      return Float64Array.from(numbers, Number);
    case 'f16':
      return Uint16Array.from(numbers, (x) => halfFromFloat(Number(x)));
    default:
      return integersFrom(dtype, numbers);
  }
}

function integersFrom(dtype: HostDType, numbers: ArrayLike<number | bigint>): TypedData | null {
  const data = new kinds[dtype](numbers.length);
  const wide = data instanceof BigInt64Array || data instanceof BigUint64Array;
  for (let i = 0; i < numbers.length; i++) {
    const x = numbers[i]!;
    if (typeof x === 'number' && !Number.isSafeInteger(x)) return null;
    if (dtype === 'bool' && x !== 0 && x !== 1 && x !== 0n && x !== 1n) return null;
    if (wide) data[i] = BigInt(x);
    else data[i] = Number(x);
    // A typed array keeps the low bits of what does not fit.
    if (Number(data[i]) !== Number(x)) return null;
  }
  return data;
}
