import { sizeOf } from '../../ir/types.ts';
import type { HostTensor } from '../../passes/infra/executor.ts';
import { elementsOf, type HostDType } from './host-arrays.ts';

const types: Readonly<Record<string, readonly [HostDType, number]>> = {
  '<f2': ['f16', 2],
  '<f4': ['f32', 4],
  '<f8': ['f64', 8],
  '|b1': ['bool', 1],
  '|i1': ['i8', 1],
  '<i2': ['i16', 2],
  '<i4': ['i32', 4],
  '<i8': ['i64', 8],
  '|u1': ['u8', 1],
  '<u2': ['u16', 2],
  '<u4': ['u32', 4],
  '<u8': ['u64', 8],
};

/** The array in the bytes of a `.npy` file, versions 1 to 3; `refuse` gets the reason where there is none. */
export function parseNpy(bytes: Uint8Array, refuse: (why: string) => never): HostTensor {
  const { header, start } = headerOf(bytes, refuse);
  const descr = /'descr'\s*:\s*'([^']*)'/.exec(header)?.[1] ?? refuse('the header has no plain element type');
  const [dtype, size] = types[descr] ?? refuse(`element type "${descr}" is not one of ${Object.keys(types).join(', ')}`);
  if (/'fortran_order'\s*:\s*True/.test(header)) refuse('the array is in Fortran order: save numpy.ascontiguousarray(x)');
  const shape = shapeOf(header, refuse);
  const data = bytes.subarray(start);
  const needed = sizeOf(shape) * size;
  if (data.byteLength !== needed) refuse(`${descr} of shape [${shape.join(',')}] needs ${needed} bytes, the file has ${data.byteLength}`);
  return { dtype, shape, data: elementsOf(dtype, data) };
}

function headerOf(bytes: Uint8Array, refuse: (why: string) => never): { readonly header: string; readonly start: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // "\x93NUMPY", then the version.
  if (bytes.length < 10 || view.getUint32(0) !== 0x934e554d || view.getUint16(4) !== 0x5059) refuse('the bytes are not a .npy file');
  const version = bytes[6]!;
  if (version < 1 || version > 3) refuse(`.npy version ${version} is unknown`);
  const from = version === 1 ? 10 : 12;
  const length = version === 1 ? view.getUint16(8, true) : bytes.length < 12 ? 0 : view.getUint32(8, true);
  if (from + length > bytes.length) refuse('the header ends after the file');
  return { header: new TextDecoder(version === 3 ? 'utf-8' : 'latin1').decode(bytes.subarray(from, from + length)), start: from + length };
}

function shapeOf(header: string, refuse: (why: string) => never): readonly number[] {
  const list = /'shape'\s*:\s*\(([\d\s,L]*)\)/.exec(header)?.[1] ?? refuse('the header has no shape');
  return list
    .split(',')
    .map((d) => d.trim())
    .filter((d) => d !== '')
    .map((d) => Number.parseInt(d, 10));
}
