import { constants } from 'node:os';
import { fail } from '../../ir/diagnostics.ts';
import { howToBuild, type KernelFiles } from './kernel-files.ts';

/** What kernels/loader/loader.cc exports. */
interface Loader {
  /** Whether it was loaded before onnxruntime-node. */
  ready(): boolean;
  /** The instruction set on which a library runs here. */
  level(library: string): string;
}

/** Loads both files, for all threads of the process, and gives the library's level. Throws QC5003 and QC5004. */
export function loadKernels({ library, loader }: KernelFiles): string {
  const { ready, level } = attempt(loader, () => addonAt(loader));
  if (!ready())
    fail('QC5003', 'onnxruntime-node was loaded before @onnx-qc/qc/runtime, so its sessions cannot use the kernels', undefined, {
      hint: 'import @onnx-qc/qc/runtime before onnxruntime-node, or set QC_KERNELS=off',
    });
  return attempt(library, () => level(library));
}

/** Its symbols are global, so that onnxruntime-node finds the loader's `OrtGetApiBase` before ONNX Runtime's. */
function addonAt(file: string): Loader {
  const module = { exports: {} };
  process.dlopen(module, file, constants.dlopen.RTLD_NOW | constants.dlopen.RTLD_GLOBAL);
  return module.exports as Loader;
}

function attempt<T>(file: string, load: () => T): T {
  try {
    return load();
  } catch (error) {
    return fail('QC5004', `${file} does not load: ${error instanceof Error ? error.message : String(error)}`, undefined, {
      hint: howToBuild,
    });
  }
}
