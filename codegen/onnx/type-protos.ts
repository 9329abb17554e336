import { dtypes, type Dim, type DType, type TensorType } from '../../ir/types.ts';
import type { DimensionProto, TypeProto } from './proto-types.ts';
import { int64, toNumber } from './proto.ts';

/** The element type of an ONNX data type number; null when the IR has none for it. */
export const dtypeOf = (dataType: number): DType | null => (dataType >= 1 && dataType <= onnxTypes ? dtypes[dataType - 1]! : null);

/** The ONNX data type number; null for `i3` and `u3`, which no ONNX version has. */
export function dataTypeOf(dtype: DType): number | null {
  const number = dtypes.indexOf(dtype) + 1;
  return number <= onnxTypes ? number : null;
}

/** The tensor type in a message; null for sequences, maps, optionals and element types that the IR has no word for. */
export function typeFromProto(type: TypeProto | null | undefined): TensorType | null {
  const tensor = type?.tensorType;
  const dtype = tensor ? dtypeOf(tensor.elemType ?? 0) : null;
  if (!tensor || dtype === null) return null;
  return { dtype, shape: tensor.shape ? (tensor.shape.dim ?? []).map(dimFromProto) : null };
}

export const typeToProto = ({ dtype, shape }: TensorType): TypeProto => ({
  tensorType: { elemType: dataTypeOf(dtype) ?? 0, ...(shape === null ? {} : { shape: { dim: shape.map(dimToProto) } }) },
});

// `dtypes` lists the element types in the order of their ONNX numbers, the two of our own at the end.
const onnxTypes = dtypes.indexOf('i3');

function dimFromProto(dim: DimensionProto): Dim {
  if (dim.dimParam) return dim.dimParam;
  // A presence test by own property: the prototype of a decoded message has defaults.
  if (!Object.hasOwn(dim, 'dimValue')) return null;
  const value = toNumber(dim.dimValue);
  return value >= 0 ? value : null;
}

function dimToProto(dim: Dim): DimensionProto {
  if (dim === null) return {};
  return typeof dim === 'string' ? { dimParam: dim } : { dimValue: int64(dim) };
}
