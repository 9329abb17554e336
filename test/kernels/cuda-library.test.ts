import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';

const library = join(process.cwd(), 'kernels/build-cuda/libqc_kernels_cuda.so');
const built = existsSync(library);

// In a process of its own: one process has one library for sessions on the CPU.
(built ? test : test.skip).each(['signatures', 'malformed'])(
  `the library with CUDA serves sessions on the CPU: %s${built ? '' : ' (skipped: it is not built, npm run build:kernels:cuda)'}`,
  (suite) => {
    const jest = ['--experimental-vm-modules', '--no-warnings', 'node_modules/jest/bin/jest.js', `test/kernels/${suite}.test.ts`];
    const { status, stderr } = spawnSync(process.execPath, jest, { env: { ...process.env, QC_KERNELS: library }, encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.not.stringContaining('skipped') });
  },
  600_000,
);
