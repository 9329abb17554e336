/**
 * Finds a compiler of CUDA: that of CUDACXX, of CUDA_HOME or on the PATH, else the one that NVIDIA publishes as Python wheels, which go
 * into kernels/build-nvcc.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The first release that knows all chips that we build for. */
const oldest = 12;
const wheels = ['nvidia-cuda-nvcc==13.0.88', 'nvidia-nvvm==13.0.88', 'nvidia-cuda-crt==13.0.88', 'nvidia-cuda-runtime==13.0.96'];
const venv = fileURLToPath(new URL('../kernels/build-nvcc/', import.meta.url));
const python = join(venv, 'bin/python');

/**
 * What a command prints, null if it fails.
 * @param {string} command
 * @param {string[]} args
 */
function outputOf(command, args) {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return status === 0 ? stdout.trim() : null;
}

/** @param {string} nvcc */
const suffices = (nvcc) => Number(/release (\d+)/.exec(outputOf(nvcc, ['--version']) ?? '')?.[1] ?? 0) >= oldest;

function installWheels() {
  if (outputOf('python3', ['-m', 'venv', venv]) === null) return;
  outputOf(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--retries', '1', ...wheels]);
}

/** The wheels' compiler; null if they are not installed. */
function nvccOfWheels() {
  const packages = outputOf(python, ['-c', 'import sysconfig; print(sysconfig.get_path("purelib"))']);
  const toolkit = join(packages ?? venv, 'nvidia/cu13');
  const nvcc = join(toolkit, 'bin/nvcc');
  if (!suffices(nvcc)) return null;
  // Where nvcc looks for libraries.
  if (!existsSync(join(toolkit, 'lib64'))) symlinkSync('lib', join(toolkit, 'lib64'));
  return nvcc;
}

/**
 * The path of nvcc, or why there is none.
 * @returns {{ readonly nvcc: string } | { readonly missing: string }}
 */
export function findNvcc() {
  const { CUDACXX, CUDA_HOME } = process.env;
  const given = CUDACXX ?? (CUDA_HOME === undefined ? 'nvcc' : join(CUDA_HOME, 'bin/nvcc'));
  if (suffices(given)) return { nvcc: given };
  const known = nvccOfWheels();
  if (known === null) installWheels();
  const nvcc = known ?? nvccOfWheels();
  return nvcc === null ? { missing: `there is no nvcc of CUDA ${oldest} or later, and pip cannot install one` } : { nvcc };
}
