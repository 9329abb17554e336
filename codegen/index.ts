/** ONNX bytes in and out, and lowering to what a runtime has. */
import { ortCpu } from './targets/ort-cpu.ts';
import { portable } from './targets/portable.ts';
import type { Target } from './targets/target.ts';

export * from './onnx/index.ts';
export { preferredOpset, settleOpset, upgradeOpset } from './onnx/opset.ts';
export { lowerTo, targetNamed, type Lowered, type Target } from './targets/target.ts';

/** Every target, the default first. */
export const targets: readonly Target[] = [ortCpu, portable];
