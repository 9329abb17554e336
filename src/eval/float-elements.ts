import { floatsFromHalf } from '../../ir/float16.ts';
import type { HostTensor } from '../../passes/infra/executor.ts';

/** The elements of an array of f32 or f16; null for others. */
export function floatElements(tensor: HostTensor | undefined): Float32Array | null {
  if (tensor?.data instanceof Float32Array) return tensor.data;
  return tensor?.dtype === 'f16' && tensor.data instanceof Uint16Array ? floatsFromHalf(tensor.data) : null;
}
