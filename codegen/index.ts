/** ONNX bytes in and out, and lowering to what a runtime has. */
import { ortCpu } from './targets/ort-cpu/ort-cpu.ts';
import { ortCuda } from './targets/ort-cuda/ort-cuda.ts';
import { qcCpu } from './targets/qc/qc-cpu.ts';
import { qcCuda } from './targets/qc/qc-cuda.ts';
import { portable } from './targets/portable.ts';
import type { Target } from './targets/target.ts';

export { executable } from './executable.ts';
export { restoreTypes, storeHalves, toFloat32, type Interface } from './float32.ts';
export * from './onnx/index.ts';
export { preferredOpset, settleOpset, upgradeOpset } from './onnx/opset.ts';
export { roundingHalves } from './targets/half/rounding.ts';
export { declineFor, lowerTo, targetNamed, type Lowered, type Lowering, type Target } from './targets/target.ts';
export type { LeftTransform } from './targets/transforms.ts';

/** Every target. */
export const targets: readonly Target[] = [ortCpu, qcCpu, ortCuda, qcCuda, portable];
