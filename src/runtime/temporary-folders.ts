import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

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
    rmSync(folder, { recursive: true, force: true });
  };
  const make = (): string => {
    const folder = mkdtempSync(join(tmpdir(), 'qc-'));
    if (live.size === 0) process.on('exit', removeAll);
    live.add(folder);
    return folder;
  };
  return { make, remove, removeAll };
}
