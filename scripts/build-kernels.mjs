/**
 * Builds kernels/build/libqc_kernels.so, the operators of docs/operators.md for ONNX Runtime, and kernels/build/qc_loader.node; or the
 * presets of kernels/CMakePresets.json that are named, and runs the tests of those that have some. The preset `cuda` makes
 * kernels/build-cuda/libqc_kernels_cuda.so, and is skipped where there is no compiler for it, unless --required is given.
 * Needs cmake and g++. Headers of ONNX Runtime are those of ONNXRUNTIME_ROOT, else those that a Go module carries, where go is installed;
 * without any, the library's own declaration of the ABI serves.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { findNvcc } from './find-nvcc.mjs';

const kernels = fileURLToPath(new URL('../kernels/', import.meta.url));
const header = 'onnxruntime_c_api.h';
const moduleWithHeader = 'github.com/yalue/onnxruntime_go@v1.27.0';

/**
 * @param {string} message
 * @returns {never}
 */
function fail(message) {
  console.error(`build:kernels: ${message}`);
  process.exit(1);
}

/** @param {string} command */
const runs = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;

/**
 * @param {string} command
 * @param {string[]} args
 */
function run(command, args) {
  const { status } = spawnSync(command, args, { cwd: kernels, stdio: 'inherit' });
  if (status !== 0) fail(`${command} ${args.join(' ')} failed`);
}

/**
 * The folder of the header below `root`.
 * @param {string} root
 */
function foundBelow(root) {
  const folder = ['include', 'include/onnxruntime', '.'].map((sub) => join(root, sub)).find((dir) => existsSync(join(dir, header)));
  return folder ?? fail(`ONNXRUNTIME_ROOT is ${root}, where there is no ${header}`);
}

/** The folder of the header in the Go module, null if it cannot be had. */
function foundInGoModule() {
  const { status, stdout } = spawnSync('go', ['mod', 'download', '-json', moduleWithHeader], { encoding: 'utf8' });
  if (status !== 0) return null;
  const { Dir } = JSON.parse(stdout);
  return existsSync(join(Dir, header)) ? Dir : null;
}

/**
 * What a preset needs beside the rest, null if it cannot be built here.
 * @param {string} preset
 */
function flagsOf(preset) {
  if (preset !== 'cuda') return [];
  const found = findNvcc();
  if ('missing' in found) {
    if (values.required) fail(found.missing);
    console.log(`build:kernels: cuda is skipped: ${found.missing}`);
    return null;
  }
  console.log(`nvcc: ${found.nvcc}`);
  return [`-DCMAKE_CUDA_COMPILER=${found.nvcc}`, `-DCMAKE_CUDA_HOST_COMPILER=${compiler}`];
}

const { values, positionals } = parseArgs({ options: { required: { type: 'boolean', default: false } }, allowPositionals: true });
const presets = positionals.length > 0 ? positionals : ['release'];
const compiler = process.env['CXX'] ?? 'g++';
for (const tool of ['cmake', compiler]) {
  if (!runs(tool)) fail(`${tool} is needed to build the kernels, and is not to be found`);
}

const root = process.env['ONNXRUNTIME_ROOT'];
const folder = root ? foundBelow(root) : foundInGoModule();
console.log(folder ? `headers of ONNX Runtime: ${folder}` : 'headers of ONNX Runtime: none, building with our declarations');

for (const preset of presets) {
  const flags = flagsOf(preset);
  if (flags === null) continue;
  run('cmake', ['--preset', preset, `-DCMAKE_CXX_COMPILER=${compiler}`, `-DONNXRUNTIME_ROOT=${folder ?? ''}`, ...flags]);
  run('cmake', ['--build', '--preset', preset, '--parallel', String(availableParallelism())]);
  if (!['release', 'cuda'].includes(preset)) run('ctest', ['--preset', preset]);
}
