import { arch, platform } from 'node:os';
import { packageRoot } from './package-root.ts';
import { findKernelFiles, type Surroundings } from './runtime/kernel-files.ts';

/** The target of a compile that names none, and what decided it. */
export interface DefaultTarget {
  readonly name: string;
  readonly why: string;
}

const here = (): Surroundings => ({ wish: process.env['QC_KERNELS'], platform: `${platform()} ${arch()}`, root: packageRoot() });

/**
 * Our kernels where their library is, because they alone compute clusters of channels in integers; else what stock ONNX Runtime is fast at.
 * Throws QC5004 when `QC_KERNELS` names a library that is not there.
 */
export function defaultTarget(surroundings: Surroundings = here()): DefaultTarget {
  const found = findKernelFiles(surroundings);
  return typeof found === 'string'
    ? { name: 'ort-cpu', why: `the kernels of qc-cpu: ${found}` }
    : { name: 'qc-cpu', why: 'its kernels are built' };
}
