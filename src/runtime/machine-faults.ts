import { tmpdir } from 'node:os';
import { diagnostic, QcError } from '../../ir/diagnostics.ts';

/** What the system says when files cannot be made or written where they should. */
const ofFolders: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such folder',
  ENOTDIR: 'it is not a folder',
  EACCES: 'it may not be written to',
  EPERM: 'it may not be written to',
  EROFS: 'its disk is read-only',
  ENOSPC: 'its disk is full',
  EDQUOT: 'the disk quota is used up',
  EIO: 'its disk does not work',
  EMFILE: 'this process has too many open files',
  ENFILE: 'the system has too many open files',
};

/** What it says when it has no room for one more process. */
const ofProcesses: Readonly<Record<string, string>> = {
  EAGAIN: 'the limit of processes and threads is reached',
  ENOMEM: 'there is not enough memory',
  EMFILE: 'this process has too many open files',
  ENFILE: 'the system has too many open files',
};

export const codeOf = (error: unknown): string | null =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;

/** QC5006 for a code of the system about files; null for all others. */
export function temporaryFault(code: string | null): QcError | null {
  const reason = code === null ? undefined : ofFolders[code];
  return reason === undefined ? null : temporaryFolderFails(`${reason} (${code})`);
}

export const temporaryFolderFails = (reason: string): QcError =>
  new QcError([
    diagnostic('QC5006', `temporary files cannot be written to ${tmpdir()}: ${reason}`, undefined, {
      hint: 'set TMPDIR to a folder that exists, may be written to, and has room for a copy of the model and its activations',
    }),
  ]);

/** What uses the temporary folder, with QC5006 for what the system says of it. */
export function inTemporary<T>(use: () => T): T {
  try {
    return use();
  } catch (error) {
    throw temporaryFault(codeOf(error)) ?? error;
  }
}

/** QC5007: the process, or a thread of it, did not start. */
export const processFault = (message: string, code: string | null): QcError =>
  new QcError([
    diagnostic('QC5007', `the system cannot start ONNX Runtime: ${ofProcesses[code ?? ''] ?? 'it refuses'} (${message})`, undefined, {
      hint: 'end other programs, raise the limits (ulimit -u, ulimit -n), or ask for fewer threads with --threads',
    }),
  ]);
