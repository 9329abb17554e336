// Plain JavaScript, because both processes use it, and session-process.mjs starts without a loader for TypeScript.
import { closeSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** @import { TypedData } from '../../ir/tensor.ts' */
/** @import { PackedTensors, RuntimeType, WireTensors } from './process-messages.ts' */

// A message costs some 9 milliseconds for a megabyte, a file 2.
const largest = 64 * 1024;
// What one call of the system takes.
const block = 2 ** 30;

const arrays = {
  float32: Float32Array,
  float16: Uint16Array,
  float64: Float64Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
};

let count = 0;

/**
 * Tensors as a message carries them: a large array as a file in the folder, which the reader removes.
 * @type {(tensors: WireTensors, folder: string) => PackedTensors}
 */
export function packed(tensors, folder) {
  return mapped(tensors, ({ type, dims, data }) => {
    if (data.byteLength <= largest) return { type, dims, data };
    const file = join(folder, `${process.pid}-${++count}`);
    write(file, data);
    return { type, dims, data: { file, elements: data.length } };
  });
}

/**
 * What `packed` packed, each array in memory of its own. One that came in a message lies anywhere between its bytes, and ONNX Runtime
 * sums from the first aligned address on, so the last bits of a result would depend on where that is.
 * @type {(tensors: PackedTensors) => WireTensors}
 */
export function unpacked(tensors) {
  return mapped(tensors, ({ type, dims, data }) => ({
    type,
    dims,
    data: 'file' in data ? read(data.file, type, data.elements) : data.slice(),
  }));
}

/**
 * @template A, B
 * @param {Readonly<Record<string, A>>} record
 * @param {(value: A) => B} change
 */
function mapped(record, change) {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}

/** @type {(file: string, data: TypedData) => void} */
function write(file, { buffer, byteOffset, byteLength }) {
  throughFile(file, 'wx', byteLength, (fd, at, length) => writeSync(fd, new Uint8Array(buffer, byteOffset + at, length)));
}

/** @type {(file: string, type: RuntimeType, elements: number) => TypedData} */
function read(file, type, elements) {
  const data = new arrays[type](elements);
  throughFile(file, 'r', data.byteLength, (fd, at, length) => readSync(fd, data, at, length, null));
  rmSync(file);
  return data;
}

/** @type {(file: string, flags: string, bytes: number, move: (fd: number, at: number, length: number) => number) => void} */
function throughFile(file, flags, bytes, move) {
  const fd = openSync(file, flags, 0o600);
  try {
    for (let at = 0; at < bytes;) {
      const moved = move(fd, at, Math.min(block, bytes - at));
      if (moved === 0) throw new Error(`${file} is shorter than its array`);
      at += moved;
    }
  } finally {
    closeSync(fd);
  }
}
