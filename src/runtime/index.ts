/** For programs that run compiled models with stock onnxruntime-node; to be imported before it. */
import { openKernels, type Kernels } from './kernels.ts';

export type { Kernels, KernelSessionOptions, SessionProviders } from './kernels.ts';

/** The library of operators: `InferenceSession.create(model, { ...options, ...kernels.sessionOptions(options) })`. */
export const kernels: Kernels = openKernels();
