import type { Target } from '../target.ts';
import { lowerToKernels, operators } from './lower-to-kernels.ts';
import { layout } from './layout.ts';

/** Our kernels on CUDA: the operators of `qc-cpu`, with what is left in float in halves. */
export const qcCuda: Target = {
  name: 'qc-cuda',
  summary: "qc's own kernels on CUDA: what qc-cpu has, and f16 between them; runs without them too, on function bodies",
  operators,
  floats: 'f16',
  weights: 'float',
  layout,
  lower: lowerToKernels,
};
