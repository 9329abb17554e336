import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fail } from '../../ir/diagnostics.ts';

/** The library of operators, and the addon by which sessions get it. */
export interface KernelFiles {
  readonly library: string;
  readonly loader: string;
  /** The library for sessions on CUDA, which has the kernels of the CPU too; null when it is not built, or when QC_KERNELS names a library. */
  readonly cuda: string | null;
}

/** What the search depends on. */
export interface Surroundings {
  /** The value of `QC_KERNELS`: the path of a library, `off`, or nothing. */
  readonly wish: string | undefined;
  /** As in `linux x64`. */
  readonly platform: string;
  /** The folder of the package. */
  readonly root: string;
}

/** What sessions run on. */
export type KernelDevice = 'cpu' | 'cuda';

/** The only platform that there are kernels for. */
export const supported = 'linux x64';

/** Where `qc kernels build` puts the library. */
export const builtLibrary = (root: string, device: KernelDevice): string =>
  join(root, device === 'cpu' ? 'kernels/build/libqc_kernels.so' : 'kernels/build-cuda/libqc_kernels_cuda.so');

/** How to get the library. */
export const howToBuild = 'build it with qc kernels build, or set QC_KERNELS=off';

/** Why there are none where QC_KERNELS names no library. */
export const notBuilt = 'not built';

/** The files, or why there are none. QC5004 when `QC_KERNELS` names what is not there, or when one of the two files is missing. */
export function findKernelFiles({ wish, platform, root }: Surroundings): KernelFiles | string {
  if (wish === 'off') return 'switched off by QC_KERNELS=off';
  if (platform !== supported) return `there are none for ${platform}`;
  const named = wish !== undefined && wish !== '';
  const library = named ? resolve(wish) : builtLibrary(root, 'cpu');
  const loader = join(dirname(library), 'qc_loader.node');
  const cuda = builtLibrary(root, 'cuda');
  if (existsSync(library) && existsSync(loader)) return { library, loader, cuda: named || !existsSync(cuda) ? null : cuda };
  if (!named && !existsSync(library)) return notBuilt;
  const missing = existsSync(library) ? loader : library;
  return fail('QC5004', `${missing} is not there${named ? ` (QC_KERNELS=${wish})` : ''}`, undefined, { hint: howToBuild });
}
