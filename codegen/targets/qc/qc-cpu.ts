import type { Target } from '../target.ts';
import { lowerToKernels, operators } from './lower-to-kernels.ts';
import { layout } from './layout.ts';

/** Our kernels on the CPU: clusters in integers, norms that store through an order. Without the library, their bodies run anywhere. */
export const qcCpu: Target = {
  name: 'qc-cpu',
  summary: "qc's own kernels on the CPU: clusters computed in integers, reorders inside norms; runs without them too, on function bodies",
  operators,
  floats: 'f32',
  weights: 'unsigned',
  layout,
  lower: lowerToKernels,
};
