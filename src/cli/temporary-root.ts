import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inTemporary } from '../runtime/machine-faults.ts';

/**
 * Makes the temporary files of this process lie in one folder, and gives what removes it. A signal that ends the process at
 * once leaves no time to ask everyone who made some.
 */
export function startTemporaryRoot(): () => void {
  const name = process.platform === 'win32' ? 'TEMP' : 'TMPDIR';
  const before = process.env[name];
  const root = inTemporary(() => mkdtempSync(join(tmpdir(), 'qc-run-')));
  process.env[name] = root;
  const remove = (): void => {
    process.off('exit', remove);
    if (before === undefined) delete process.env[name];
    else process.env[name] = before;
    rmSync(root, { recursive: true, force: true, maxRetries: 3 });
  };
  process.on('exit', remove);
  return remove;
}
