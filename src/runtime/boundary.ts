import { fail, type Location } from '../../ir/diagnostics.ts';
import { dtypes, tensorType, type DType, type TensorType } from '../../ir/types.ts';
import type { TypedData } from '../../ir/tensor.ts';
import type { Feeds } from '../../passes/infra/executor.ts';
import type { RuntimeType, WirePort, WireTensors } from './process-messages.ts';

/** A named input or output of a loaded graph. */
export interface Port extends TensorType {
  readonly name: string;
}

const runtimeTypes: Readonly<Partial<Record<DType, RuntimeType>>> = {
  f32: 'float32',
  f16: 'float16',
  f64: 'float64',
  i8: 'int8',
  i16: 'int16',
  i32: 'int32',
  i64: 'int64',
  u8: 'uint8',
  u16: 'uint16',
  u32: 'uint32',
  u64: 'uint64',
  bool: 'bool',
};

const dtypeOf: ReadonlyMap<string, DType> = new Map(dtypes.flatMap((d) => (runtimeTypes[d] ? [[runtimeTypes[d], d] as const] : [])));

/** Whether arrays of this element type can be fed and read; sub-byte outputs would end the process inside ONNX Runtime. */
export const crosses = (dtype: DType): boolean => runtimeTypes[dtype] !== undefined;

export function refuseToCross(role: 'input' | 'output', name: string, type: string, at: Location): never {
  return fail('QC5001', `${role} "${name}" of the graph is ${type}, which cannot be passed to ONNX Runtime as an array`, at, {
    notes: [`element types at the boundary: ${Object.keys(runtimeTypes).join(', ')}`],
    hint: 'insert a Cast, or pack sub-byte data into u8',
  });
}

/** The port that ONNX Runtime describes; QC5001 when its arrays cannot be passed. */
export function portFrom(role: 'input' | 'output', wire: WirePort, at: Location): Port {
  const dtype = dtypeOf.get(wire.type ?? '') ?? refuseToCross(role, wire.name, wire.type ?? 'not a tensor', at);
  return {
    name: wire.name,
    ...tensorType(
      dtype,
      wire.shape.map((d) => (d === '' ? null : d)),
    ),
  };
}

/** The feeds for a message; copies, because the caller may change its arrays before the message is sent. */
export const feedsToWire = (feeds: Feeds, at: Location): WireTensors =>
  Object.fromEntries(
    Object.entries(feeds).map(([name, { dtype, shape, data }]) => {
      const type = runtimeTypes[dtype] ?? refuseToCross('input', name, dtype, at);
      return [name, { type, dims: shape, data: copyOf(data) }];
    }),
  );

// `slice` of a Buffer, which is a Uint8Array too, is no copy.
const copyOf = (data: TypedData): TypedData => (data instanceof Uint8Array ? new Uint8Array(data) : data.slice());

/** Outputs of a run by name. */
export const feedsFromWire = (wire: WireTensors): Feeds =>
  Object.fromEntries(Object.entries(wire).map(([name, t]) => [name, { dtype: dtypeOf.get(t.type)!, shape: t.dims, data: t.data }]));
