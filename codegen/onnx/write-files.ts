import { closeSync, existsSync, fsyncSync, lstatSync, openSync, readlinkSync, renameSync, rmSync, writeSync, type Stats } from 'node:fs';
import { fail, QcError } from '../../ir/diagnostics.ts';
import { placeOf, reasonOf } from './files.ts';
import { lengthOf, partsOfPiece, type Piece } from './pieces.ts';

export interface WrittenFile {
  readonly path: string;
  readonly bytes: number;
}

/** A file to write; the first of several is the one that refers to the others. */
export interface PlannedFile {
  readonly path: string;
  readonly pieces: readonly Piece[];
}

/**
 * Throws QC4201 where something lies at `path` that is no regular file: the file that is moved there would replace a device or a pipe. A
 * link is refused too: the file would take the link's own place, and what it points to may belong to others, as in caches of models.
 */
export function checkReplaceable(path: string): void {
  const kind = kindOf(path, statsOf(path));
  if (kind !== null)
    fail('QC4201', `cannot write ${path}: ${kind} is there`, placeOf(path), { hint: 'give the path of a new file, or of a regular one' });
}

function statsOf(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    return fail('QC4201', `cannot write ${path}: ${reasonOf(error)}`, placeOf(path));
  }
}

/** Null for a regular file and for nothing. */
function kindOf(path: string, stats: Stats | undefined): string | null {
  if (stats === undefined || stats.isFile()) return null;
  if (stats.isSymbolicLink()) return `a link to ${readlinkSync(path)}`;
  return stats.isDirectory() ? 'a folder' : stats.isFIFO() ? 'a pipe' : stats.isSocket() ? 'a socket' : 'a device';
}

/** Files that lie beside their places until they are moved there. */
export interface StagedFiles {
  /** Where the file of this path lies meanwhile. */
  at(path: string): string;
  /** Moves them to their places, the first one last; on failure nothing is left (QC4201). */
  commit(): WrittenFile[];
  /** Removes them. */
  discard(): void;
}

/** Writes all files beside their places; on failure nothing is left (QC4201). */
export function stageFiles(files: readonly PlannedFile[]): StagedFiles {
  for (const { path } of files) checkReplaceable(path);
  const pending = new Map(files.toReversed().map((f) => [f.path, `${f.path}.${process.pid}.tmp`]));
  // What did not exist before must not stay behind when a later file cannot be put in its place.
  const added = files.map((f) => f.path).filter((path) => !existsSync(path));
  const discard = (): void => {
    for (const temporary of pending.values()) rmSync(temporary, { force: true });
  };
  const orDiscard = <T>(act: () => T): T => {
    try {
      return act();
    } catch (error) {
      discard();
      for (const path of added) if (!pending.has(path)) rmSync(path, { force: true });
      if (error instanceof QcError) throw error;
      return fail('QC4201', `cannot write ${files[0]?.path}: ${reasonOf(error)}`, placeOf(files[0]?.path ?? ''));
    }
  };
  orDiscard(() => {
    for (const file of files.toReversed()) writePieces(pending.get(file.path)!, file.pieces);
  });
  return {
    at: (path) => pending.get(path)!,
    commit: () =>
      orDiscard(() => {
        for (const [path, temporary] of pending) {
          renameSync(temporary, path);
          pending.delete(path);
        }
        return files.map((f) => ({ path: f.path, bytes: lengthOf(f.pieces) }));
      }),
    discard,
  };
}

/** Writes all files beside their places and then moves them there, the first one last; on failure nothing is left (QC4201). */
export const replaceFiles = (files: readonly PlannedFile[]): WrittenFile[] => stageFiles(files).commit();

/** Writes files that need not outlive this process, in their places (QC4201). */
export function writeTemporaryFiles(files: readonly PlannedFile[]): void {
  for (const { path, pieces } of files) {
    try {
      writePieces(path, pieces, 'cached');
    } catch (error) {
      if (error instanceof QcError) throw error;
      fail('QC4201', `cannot write ${path}: ${reasonOf(error)}`, placeOf(path));
    }
  }
}

/** `durable`: it is on the disk when this returns, and not only in the cache of the system. */
function writePieces(path: string, pieces: readonly Piece[], until: 'durable' | 'cached' = 'durable'): void {
  const fd = openSync(path, 'w');
  try {
    const buffer = new Uint8Array(1024 * 1024);
    let filled = 0;
    for (const piece of pieces) {
      for (const bytes of partsOfPiece(piece, part)) {
        if (bytes.length > buffer.length - filled) {
          writeFully(fd, buffer.subarray(0, filled));
          filled = 0;
        }
        if (bytes.length > buffer.length) writeFully(fd, bytes);
        else {
          buffer.set(bytes, filled);
          filled += bytes.length;
        }
      }
    }
    writeFully(fd, buffer.subarray(0, filled));
    if (until === 'durable') fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function writeFully(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, Math.min(bytes.length - done, chunk));
}

const chunk = 64 * 1024 * 1024;

/** Constants that lie in a file are copied in parts of this size. */
const part = 8 * 1024 * 1024;
