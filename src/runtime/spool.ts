import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import type { Feeds, Spool } from '../../passes/infra/executor.ts';
import { codeOf, temporaryFault } from './machine-faults.ts';
import { temporaryFolders } from './temporary-folders.ts';

/** Activations as files in a temporary folder, so that a sweep over a large model needs memory for one sample only. */
export function fileSpool(): Spool {
  const folders = temporaryFolders();
  const folder = folders.make();
  const names = new Map<string, string>();
  const fileOf = (key: string): string => {
    if (!names.has(key)) names.set(key, join(folder, String(names.size)));
    return names.get(key)!;
  };
  return {
    put: (key, feeds) =>
      writeFile(fileOf(key), serialize(feeds)).catch((error: unknown) => {
        throw temporaryFault(codeOf(error)) ?? error;
      }),
    get: async (key) => deserialize(await readFile(fileOf(key))) as Feeds,
    close: async () => folders.removeAll(),
  };
}
