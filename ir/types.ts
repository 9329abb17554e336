/** Element types. `i3` and `u3` exist in no ONNX opset: only `qc` operators and quantization specs use them. */
export const dtypes = [
  'f32',
  'u8',
  'i8',
  'u16',
  'i16',
  'i32',
  'i64',
  'string',
  'bool',
  'f16',
  'f64',
  'u32',
  'u64',
  'c64',
  'c128',
  'bf16',
  'f8e4m3fn',
  'f8e4m3fnuz',
  'f8e5m2',
  'f8e5m2fnuz',
  'u4',
  'i4',
  'f4e2m1',
  'f8e8m0',
  'u2',
  'i2',
  'i3',
  'u3',
] as const;
export type DType = (typeof dtypes)[number];

const bits: Readonly<Record<DType, number>> = {
  f32: 32,
  u8: 8,
  i8: 8,
  u16: 16,
  i16: 16,
  i32: 32,
  i64: 64,
  string: 0,
  bool: 8,
  f16: 16,
  f64: 64,
  u32: 32,
  u64: 64,
  c64: 64,
  c128: 128,
  bf16: 16,
  f8e4m3fn: 8,
  f8e4m3fnuz: 8,
  f8e5m2: 8,
  f8e5m2fnuz: 8,
  u4: 4,
  i4: 4,
  f4e2m1: 4,
  f8e8m0: 8,
  u2: 2,
  i2: 2,
  i3: 3,
  u3: 3,
};

/** Bits of one element; 0 for strings, whose size is not fixed. */
export const bitsOf = (dtype: DType): number => bits[dtype];

/** Bytes of `count` packed elements. Sub-byte elements share bytes, the first element in the low bits. */
export const bytesFor = (dtype: DType, count: number): number => Math.ceil((count * bits[dtype]) / 8);

export const isDType = (word: string): word is DType => (dtypes as readonly string[]).includes(word);
export const isFloat = (dtype: DType): boolean => /^(f|bf)\d/.test(dtype);
export const isInteger = (dtype: DType): boolean => /^[iu]\d/.test(dtype);

/** A known extent, a named symbol (`batch`, `batch*seq`), or null when nothing is known. */
export type Dim = number | string | null;

/** The type of a tensor value; `shape` is null when not even the rank is known. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly Dim[] | null;
}

export const tensorType = (dtype: DType, shape: readonly Dim[] | null): TensorType => ({ dtype, shape });

/** A symbol that is no plain word, or looks like something else, stands in quotes: `"past + 1"`. */
const dimText = (d: Dim): string =>
  typeof d !== 'string' ? String(d ?? '?') : /^(?!\d+$|\?$)[\w.*+?-][\w.*+?/-]*$/.test(d) ? d : JSON.stringify(d);

/** `f32[N,8]`; `f32` when the rank is unknown. */
export const formatType = (type: TensorType): string =>
  type.shape === null ? type.dtype : `${type.dtype}[${type.shape.map(dimText).join(',')}]`;

export const sizeOf = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);
