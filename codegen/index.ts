/** ONNX bytes in and out, and lowering to what a runtime has. */
import { ortCpu } from './targets/ort-cpu.ts';
import { qcCpu } from './targets/qc-cpu/qc-cpu.ts';
import { portable } from './targets/portable.ts';
import type { Target } from './targets/target.ts';

export * from './onnx/index.ts';
export { preferredOpset, settleOpset, upgradeOpset } from './onnx/opset.ts';
export { lowerTo, targetNamed, type Lowered, type Lowering, type Target } from './targets/target.ts';
export type { LeftTransform } from './targets/transforms.ts';

/** Every target, the default first. */
export const targets: readonly Target[] = [ortCpu, qcCpu, portable];
