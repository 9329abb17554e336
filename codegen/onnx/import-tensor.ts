import { fail, type Location } from '../../ir/diagnostics.ts';
import { inFile, inMemory, integers, lazy, type FileRange, type Tensor } from '../../ir/tensor.ts';
import { bytesFor, sizeOf, type DType } from '../../ir/types.ts';
import type { SparseParts } from './carried.ts';
import type { ExternalFiles } from './external.ts';
import type { SparseTensorProto, TensorProto } from './proto-types.ts';
import { toNumber, without } from './proto.ts';
import { externalLocation } from './schema.ts';
import { fieldOf, packTyped, typedFields } from './tensor-data.ts';
import { dtypeOf } from './type-protos.ts';

/** Where the data of a model's tensors may lie beside the message itself. */
export interface TensorSources {
  readonly external: ExternalFiles;
  /** The range of the model file for which this `raw_data` stands; null when it is the data itself. */
  payloadOf(rawData: Uint8Array): { readonly at: FileRange; readonly read: (at: FileRange) => Uint8Array } | null;
}

/** The tensor in a message, its data left where it is. Sizes are checked now, without reading. */
export function tensorFromProto(proto: TensorProto, sources: TensorSources, at: Location): Tensor {
  const name = proto.name ? `tensor ${proto.name}` : 'a tensor';
  const dtype = dtypeOf(proto.dataType ?? 0) ?? fail('QC4106', `${name} has the unknown element type ${proto.dataType ?? 0}`, at);
  const shape = shapeOf(proto.dims ?? [], name, at);
  if (proto.segment) fail('QC4106', `${name} is a segment of a larger one`, at);
  const length = bytesFor(dtype, sizeOf(shape));
  if (proto.dataLocation === externalLocation) {
    if (dtype === 'string') fail('QC4106', `${name} keeps strings in external data`, at);
    const range = sources.external(proto, length, at);
    return inFile(dtype, shape, range.at, range.read);
  }
  refuseOtherFields(proto, dtype, name, at);
  if (dtype === 'string') return stringTensor(proto, shape, name, at);
  if (proto.rawData && Object.hasOwn(proto, 'rawData')) {
    const payload = sources.payloadOf(proto.rawData);
    checkLength(dtype, shape, payload ? payload.at.length : proto.rawData.length, name, at);
    return payload ? inFile(dtype, shape, payload.at, payload.read) : inMemory(dtype, shape, proto.rawData);
  }
  if (length > 0 && (proto[fieldOf(dtype)] ?? []).length === 0) fail('QC4106', `${name} has no data`, at);
  const bytes = packTyped(proto, dtype);
  checkLength(dtype, shape, bytes.length, name, at);
  return inMemory(dtype, shape, bytes);
}

/** What a message says of a tensor beside type and data; null when nothing. */
export const tensorDetails = (proto: TensorProto, more: readonly (keyof TensorProto)[] = ['name']): Partial<TensorProto> | null =>
  without(proto, 'dims', 'dataType', 'rawData', 'externalData', 'dataLocation', ...typedFields, ...more);

/** A sparse tensor as a dense one that is filled in when read, with its parts. */
export function sparseFromProto(proto: SparseTensorProto, sources: TensorSources, at: Location): SparseParts {
  const name = `sparse tensor ${proto.values?.name ?? ''}`;
  if (!proto.values || !proto.indices) return fail('QC4106', `${name} lacks values or indices`, at);
  const values = tensorFromProto(proto.values, sources, at);
  const indices = tensorFromProto(proto.indices, sources, at);
  const shape = shapeOf(proto.dims ?? [], name, at);
  const [count = 0] = values.shape;
  const linear = indices.shape.length === 1;
  if (values.shape.length !== 1 || indices.dtype !== 'i64' || indices.shape[0] !== count || (!linear && indices.shape[1] !== shape.length))
    fail('QC4106', `${name} has indices that do not fit its ${count} values`, at);
  const bits = bytesFor(values.dtype, 1) * 8;
  if (values.dtype === 'string' || bytesFor(values.dtype, 8) !== bits) fail('QC4106', `${name} has elements of no whole byte`, at);
  const total = bytesFor(values.dtype, sizeOf(shape));
  if (total >= 2 ** 32) fail('QC4106', `${name} would take ${total} bytes when filled in`, at);
  const dense = lazy(values.dtype, shape, () => fillIn(values, indices, shape, name, at));
  const rest = without(proto, 'values', 'indices', 'dims');
  return { values, indices, dense, details: { values: tensorDetails(proto.values), indices: tensorDetails(proto.indices, []), rest } };
}

function fillIn(values: Tensor, indices: Tensor, shape: readonly number[], name: string, at: Location): Uint8Array {
  const size = bytesFor(values.dtype, 1);
  const total = sizeOf(shape);
  const into = new Uint8Array(total * size);
  const from = values.bytes();
  const rank = indices.shape.length === 1 ? 1 : shape.length;
  const extents = indices.shape.length === 1 ? [total] : shape;
  const places = integers(indices);
  for (let i = 0; i < from.length / size; i++) {
    let place = 0;
    for (let axis = 0; axis < rank; axis++) {
      const index = places[i * rank + axis]!;
      if (!(index >= 0 && index < extents[axis]!)) fail('QC4106', `${name} has an index ${index} outside its extents`, at);
      place = place * extents[axis]! + index;
    }
    into.set(from.subarray(i * size, (i + 1) * size), place * size);
  }
  return into;
}

function shapeOf(dims: NonNullable<TensorProto['dims']>, name: string, at: Location): number[] {
  const shape = dims.map((d) => {
    const extent = toNumber(d);
    return extent >= 0 ? extent : fail('QC4106', `${name} has the negative extent ${extent}`, at);
  });
  // Zero extents aside, so that `0 * huge` does not hide an extent that nothing could hold.
  if (!Number.isSafeInteger(shape.reduce((n, d) => n * Math.max(d, 1), 1))) fail('QC4106', `${name} has more elements than can be`, at);
  return shape;
}

function refuseOtherFields(proto: TensorProto, dtype: DType, name: string, at: Location): void {
  const own = fieldOf(dtype);
  const raw = Object.hasOwn(proto, 'rawData') && (proto.rawData?.length ?? 0) > 0;
  for (const field of typedFields)
    if ((proto[field] ?? []).length > 0 && (field !== own || raw)) fail('QC4106', `${name} of type ${dtype} has data in ${field}`, at);
  if (raw && dtype === 'string') fail('QC4106', `${name} keeps strings in rawData`, at);
}

function stringTensor(proto: TensorProto, shape: readonly number[], name: string, at: Location): Tensor {
  const count = proto.stringData?.length ?? 0;
  if (count !== sizeOf(shape)) fail('QC1601', `${name} has ${count} strings and needs ${sizeOf(shape)}`, at);
  return inMemory('string', shape, packTyped(proto, 'string'));
}

function checkLength(dtype: DType, shape: readonly number[], found: number, name: string, at: Location): void {
  const needed = bytesFor(dtype, sizeOf(shape));
  if (found !== needed) fail('QC1601', `${name}: ${dtype}[${shape.join(',')}] needs ${needed} bytes, the data has ${found}`, at);
}
