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

/** Those of all owners, for which the process listens once to its end. */
const live = new Set<string>();

export function temporaryFolders(): TemporaryFolders {
  const own = new Set<string>();
  const drop = (folder: string): void => {
    if (own.delete(folder)) remove(folder);
  };
  return {
    make() {
      const folder = inTemporary(() => mkdtempSync(join(tmpdir(), 'qc-')));
      if (live.size === 0) process.on('exit', removeLive);
      live.add(folder);
      own.add(folder);
      return folder;
    },
    remove: drop,
    removeAll() {
      for (const folder of own) drop(folder);
    },
  };
}

function removeLive(): void {
  for (const folder of live) remove(folder);
}

function remove(folder: string): void {
  live.delete(folder);
  if (live.size === 0) process.off('exit', removeLive);
  // Once more, should a process that was killed have made a file meanwhile.
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}
