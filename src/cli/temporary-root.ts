import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inTemporary } from '../runtime/machine-faults.ts';
import { claim, sweepLeftovers } from './leftovers.ts';

/** How the folders of runs begin. */
const prefix = 'qc-run-';

/**
 * Makes the temporary files of this process lie in one folder, and gives what removes it. A signal that ends the process at
 * once leaves no time to ask everyone who made some. Folders of runs that were killed are removed first.
 */
export function startTemporaryRoot(): () => void {
  const name = process.platform === 'win32' ? 'TEMP' : 'TMPDIR';
  const before = process.env[name];
  sweepLeftovers(tmpdir(), prefix);
  const root = inTemporary(() => mkdtempSync(join(tmpdir(), prefix)));
  const remove = (): void => {
    process.off('exit', remove);
    if (before === undefined) delete process.env[name];
    else process.env[name] = before;
    // Once more, should a process that was killed have made a file meanwhile.
    rmSync(root, { recursive: true, force: true, maxRetries: 3 });
  };
  process.on('exit', remove);
  inTemporary(() => claim(root));
  process.env[name] = root;
  return remove;
}
