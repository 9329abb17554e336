import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inTemporary } from './machine-faults.ts';

/** Folders that are gone after `remove`, `removeAll`, or the end of the process. */
export interface TemporaryFolders {
  make(): string;
  remove(folder: string): void;
  removeAll(): void;
}

export function temporaryFolders(): TemporaryFolders {
  const live = new Set<string>();
  const removeAll = (): void => {
    for (const folder of live) remove(folder);
  };
  const remove = (folder: string): void => {
    if (!live.delete(folder)) return;
    if (live.size === 0) process.off('exit', removeAll);
    // Once more, should a process that was killed have made a file meanwhile.
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  };
  const make = (): string => {
    const folder = inTemporary(() => mkdtempSync(join(tmpdir(), 'qc-')));
    if (live.size === 0) process.on('exit', removeAll);
    live.add(folder);
    return folder;
  };
  return { make, remove, removeAll };
}
