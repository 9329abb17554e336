import { fail } from '../../ir/diagnostics.ts';
import type { Tensor } from '../../ir/tensor.ts';
import { bytesFor, sizeOf } from '../../ir/types.ts';
import type { TensorProto } from './proto-types.ts';
import { field, type Piece } from './pieces.ts';
import { encodeMessage, int64 } from './proto.ts';
import { externalLocation } from './schema.ts';
import { unpackStrings } from './tensor-data.ts';
import { dataTypeOf } from './type-protos.ts';

/** Where a constant lies in the side file. */
export interface ExternalPlace {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

/** Bytes that a tensor takes as packed data; strings count what they hold. */
export const dataLength = (tensor: Tensor): number =>
  tensor.dtype === 'string' ? tensor.bytes().length : bytesFor(tensor.dtype, sizeOf(tensor.shape));

/** A tensor message: its data in place, or the range of the side file that has it. */
export function tensorPieces(tensor: Tensor, details: Partial<TensorProto>, place: ExternalPlace | null): Piece[] {
  const dataType = dataTypeOf(tensor.dtype) ?? fail('QC4001', `no version of ONNX has the element type ${tensor.dtype}`);
  const head: TensorProto = { ...details, dims: tensor.shape.map(int64), dataType };
  if (tensor.dtype === 'string') return [encodeMessage('TensorProto', { ...head, stringData: unpackStrings(tensor.bytes()) })];
  if (place) {
    const { location, offset, length } = place;
    const externalData = Object.entries({ location, offset, length }).map(([key, value]) => ({ key, value: String(value) }));
    return [encodeMessage('TensorProto', { ...head, externalData, dataLocation: externalLocation })];
  }
  const length = dataLength(tensor);
  return [encodeMessage('TensorProto', head), ...field(rawDataField, length === 0 ? [] : [{ tensor, length }])];
}

const rawDataField = 9;
