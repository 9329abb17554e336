import { closeSync, fstatSync, openSync, readSync, statSync, type Stats } from 'node:fs';
import { basename } from 'node:path';
import { fail, type Location } from '../../ir/diagnostics.ts';
import type { DiagnosticCode } from '../../ir/diagnostic-codes.ts';
import type { FileRange } from '../../ir/tensor.ts';

/** What tells a file from another one that was put in its place since. */
export interface FileStamp {
  readonly size: number;
  readonly inode: number;
  readonly modified: number;
}

export const stampOf = (stats: Stats): FileStamp => ({ size: stats.size, inode: stats.ino, modified: stats.mtimeMs });

/** The place of a whole file, for diagnostics. */
export const placeOf = (path: string): Location => ({ kind: 'onnx', file: basename(path), node: '' });

/** The stamp of a regular file; anything else is an error of the given code. */
export function stampFile(path: string, code: DiagnosticCode, at: Location = placeOf(path)): FileStamp {
  let stats: Stats;
  try {
    stats = statSync(path);
  } catch (error) {
    return fail(code, `cannot open ${path}: ${reasonOf(error)}`, at);
  }
  return stats.isFile() ? stampOf(stats) : fail(code, `${path} is not a file`, at);
}

/** Fills `into` from `position` on; false if the file ends before. No single read asks for more than 64 MiB. */
export function readFully(fd: number, into: Uint8Array, position: number): boolean {
  for (let done = 0; done < into.byteLength;) {
    const count = readSync(fd, into, done, Math.min(into.byteLength - done, chunk), position + done);
    if (count === 0) return false;
    done += count;
  }
  return true;
}

/** Reads ranges of the file that `stamp` describes; QC4102 if it is gone, shorter or another file by now. */
export function rangeReader(stamp: FileStamp): (at: FileRange) => Uint8Array {
  return ({ path, offset, length }) => {
    const place = placeOf(path);
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch (error) {
      return fail('QC4102', `cannot open ${path}: ${reasonOf(error)}`, place);
    }
    try {
      const now = stampOf(fstatSync(fd));
      if (now.size !== stamp.size || now.inode !== stamp.inode || now.modified !== stamp.modified)
        fail('QC4102', `${path} has changed since the model was read`, place);
      // Its own buffer, not one of the pool, so that typed arrays can view it.
      const bytes = new Uint8Array(length);
      if (!readFully(fd, bytes, offset)) fail('QC4102', `${path} ends before byte ${offset + length}`, place);
      return bytes;
    } finally {
      closeSync(fd);
    }
  };
}

export const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const chunk = 64 * 1024 * 1024;
