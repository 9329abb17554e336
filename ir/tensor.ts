import { fail } from './diagnostics.ts';
import { bfloatsFromFloats, floatsFromBfloat, floatsFromHalf, halvesFromFloats } from './float16.ts';
import { transposeInto } from './transpose.ts';
import { bytesFor, sizeOf, type DType } from './types.ts';

/** How the printer names a constant without reading it. */
export type TensorOrigin =
  | { readonly kind: 'memory' }
  | { readonly kind: 'file'; readonly path: string; readonly offset: number; readonly length: number }
  | { readonly kind: 'lazy' }
  | { readonly kind: 'generated'; readonly text: string };

/** Constant data. The bytes are produced on demand, so a graph of many gigabytes stays cheap to hold. */
export interface Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly origin: TensorOrigin;
  /** Little endian, packed (ONNX `raw_data` layout); may read a file, may compute. Callers must not write into it. */
  bytes(): Uint8Array;
  /** The same bytes in parts of at most `size`, where they need not be together in memory. */
  readonly chunks?: (size: number) => Iterable<Uint8Array>;
  /** The tensor of a narrower float type that has the same numbers, and in which they may be stored. */
  readonly source?: Tensor;
}

/** The typed arrays that hold elements: halves as Uint16Array, bool as Uint8Array, i64 as BigInt64Array. */
export type TypedData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

const asBytes = (data: TypedData): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

function checked(dtype: DType, shape: readonly number[], data: Uint8Array): Uint8Array {
  const needed = bytesFor(dtype, sizeOf(shape));
  if (dtype !== 'string' && data.byteLength !== needed)
    fail('QC1601', `${dtype}[${shape.join(',')}] needs ${needed} bytes, the data has ${data.byteLength}`);
  return data;
}

/** A constant whose packed bytes are in memory. */
export function inMemory(dtype: DType, shape: readonly number[], data: TypedData): Tensor {
  const bytes = checked(dtype, shape, asBytes(data));
  return { dtype, shape, origin: { kind: 'memory' }, bytes: () => bytes };
}

/** f32 data from numbers or a typed array. */
export const dense = (shape: readonly number[], data: ArrayLike<number>): Tensor =>
  inMemory('f32', shape, data instanceof Float32Array ? data : Float32Array.from(data));

/** i64 data, the element type of shapes and axes. */
export const int64s = (shape: readonly number[], data: readonly (number | bigint)[]): Tensor =>
  inMemory('i64', shape, BigInt64Array.from(data, BigInt));

export const scalar = (x: number): Tensor => dense([], [x]);

/** A constant whose data is computed at each `bytes()` and not kept, so that a fold costs no memory until it is written. */
export function lazy(dtype: DType, shape: readonly number[], compute: () => TypedData): Tensor {
  return { dtype, shape, origin: { kind: 'lazy' }, bytes: () => checked(dtype, shape, asBytes(compute())) };
}

/** A constant that text can name instead of listing: `splat 1.0`, `random 3`. */
export function generated(shape: readonly number[], text: string, compute: () => Float32Array): Tensor {
  return { dtype: 'f32', shape, origin: { kind: 'generated', text }, bytes: () => checked('f32', shape, asBytes(compute())) };
}

export interface FileRange {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
}

/** A constant in a range of a file, which `read` opens when the bytes are needed. */
export function inFile(dtype: DType, shape: readonly number[], at: FileRange, read: (at: FileRange) => Uint8Array): Tensor {
  function* chunks(size: number): Generator<Uint8Array> {
    for (let start = 0; start < at.length; start += size)
      yield read({ ...at, offset: at.offset + start, length: Math.min(size, at.length - start) });
  }
  return { dtype, shape, origin: { kind: 'file', ...at }, bytes: () => checked(dtype, shape, read(at)), chunks };
}

/** `bytes` as a view that typed arrays accept: copied if it does not start on a multiple of `align`. */
function aligned(bytes: Uint8Array, align: number): Uint8Array {
  return bytes.byteOffset % align === 0 ? bytes : Uint8Array.from(bytes);
}

/** The elements of a float tensor (f32, f16, bf16, f64) as f32. */
export function floats(t: Tensor): Float32Array {
  switch (t.dtype) {
    case 'f32': {
      const b = aligned(t.bytes(), 4);
      return new Float32Array(b.buffer, b.byteOffset, b.byteLength / 4);
    }
    case 'f64': {
      const b = aligned(t.bytes(), 8);
      return Float32Array.from(new Float64Array(b.buffer, b.byteOffset, b.byteLength / 8));
    }
    case 'f16':
    case 'bf16': {
      const b = aligned(t.bytes(), 2);
      const halves = new Uint16Array(b.buffer, b.byteOffset, b.byteLength / 2);
      return t.dtype === 'f16' ? floatsFromHalf(halves) : floatsFromBfloat(halves);
    }
    default:
      return fail('QC1602', `expected float data, found ${t.dtype}`);
  }
}

/** f32 numbers in the storage of a float element type. */
export function encodeFloats(dtype: DType, data: Float32Array): TypedData {
  switch (dtype) {
    case 'f32':
      return data;
    case 'f64':
      return Float64Array.from(data);
    case 'f16':
      return halvesFromFloats(data);
    case 'bf16':
      return bfloatsFromFloats(data);
    default:
      return fail('QC1602', `cannot store floats as ${dtype}`);
  }
}

/** The elements of an integer or bool tensor of whole bytes as numbers; i64 must fit 53 bits. */
export function integers(t: Tensor): number[] {
  const read = (size: number, at: (v: DataView, i: number) => number): number[] => {
    const b = t.bytes();
    const view = new DataView(b.buffer, b.byteOffset, b.byteLength);
    return Array.from({ length: sizeOf(t.shape) }, (_, i) => at(view, i * size));
  };
  switch (t.dtype) {
    case 'i64':
    case 'u64':
      return bigIntegers(t).map(Number);
    case 'i32':
      return read(4, (v, i) => v.getInt32(i, true));
    case 'u32':
      return read(4, (v, i) => v.getUint32(i, true));
    case 'i16':
      return read(2, (v, i) => v.getInt16(i, true));
    case 'u16':
      return read(2, (v, i) => v.getUint16(i, true));
    case 'i8':
      return read(1, (v, i) => v.getInt8(i));
    case 'u8':
    case 'bool':
      return read(1, (v, i) => v.getUint8(i));
    default:
      return fail('QC1602', `expected integer data, found ${t.dtype}`);
  }
}

/** The elements of an i64 or u64 tensor, exactly. */
export function bigIntegers(t: Tensor): bigint[] {
  const b = aligned(t.bytes(), 8);
  const data =
    t.dtype === 'u64'
      ? new BigUint64Array(b.buffer, b.byteOffset, b.byteLength / 8)
      : new BigInt64Array(b.buffer, b.byteOffset, b.byteLength / 8);
  return Array.from<bigint>(data);
}

/** The elements of a tensor whose dtype is `f64`. */
export function doubles(t: Tensor): Float64Array {
  if (t.dtype !== 'f64') return Float64Array.from(floats(t));
  const b = aligned(t.bytes(), 8);
  return new Float64Array(b.buffer, b.byteOffset, b.byteLength / 8);
}

/** A float constant of the same element type as `like`, computed when written. */
export const derived = (like: Tensor, shape: readonly number[], compute: () => Float32Array): Tensor =>
  lazy(like.dtype, shape, () => encodeFloats(like.dtype, compute()));

/** The numbers of halves as f32. */
export const widened = (t: Tensor): Tensor => ({ ...lazy('f32', t.shape, () => floats(t)), source: t });

/** The same elements under other extents, whose product is the same. */
export const reshapedTo = (t: Tensor, shape: readonly number[]): Tensor => ({
  ...t,
  shape,
  ...(t.source ? { source: reshapedTo(t.source, shape) } : {}),
});

/** A matrix with its two axes exchanged. */
export function transposed(t: Tensor): Tensor {
  return t.source ? { ...turned(t), source: turned(t.source) } : turned(t);
}

function turned(t: Tensor): Tensor {
  const [rows = 1, columns = 1] = t.shape;
  return lazy(t.dtype, [columns, rows], () => {
    const from = t.bytes();
    const to = new Uint8Array(from.byteLength);
    transposeElements(to, from, rows, columns, bytesFor(t.dtype, 1));
    return to;
  });
}

/** Writes the transpose of a matrix whose elements take `size` bytes. */
function transposeElements(to: Uint8Array, from: Uint8Array, rows: number, columns: number, size: number): void {
  if (size === 1) return transposeInto(to, from, rows, columns);
  const a = aligned(from, size);
  const count = a.byteLength / size;
  if (size === 2) return transposeInto(new Uint16Array(to.buffer), new Uint16Array(a.buffer, a.byteOffset, count), rows, columns);
  if (size === 4) return transposeInto(new Uint32Array(to.buffer), new Uint32Array(a.buffer, a.byteOffset, count), rows, columns);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) to.set(from.subarray((r * columns + c) * size, (r * columns + c + 1) * size), (c * rows + r) * size);
}
