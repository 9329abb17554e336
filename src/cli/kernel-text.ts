import type { KernelUse } from '../runtime/kernel-use.ts';

/** `kernels avx2`, or `function bodies`. */
export const kernelText = ({ level }: KernelUse): string => (level === null ? 'function bodies' : `kernels ${level}`);
