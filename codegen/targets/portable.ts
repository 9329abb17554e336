import type { Target } from './target.ts';

/** Any ONNX runtime: standard operators of opset 21 alone. True to the quantizers, not fast. */
export const portable: Target = {
  name: 'portable',
  summary: 'standard operators of opset 21 for any runtime: exact fake quantization as QDQ, not fast',
  operators: new Set(),
  floats: 'f32',
  weights: 'unsigned',
  /** Scales lie as the scheme and the clusters say. */
  layout: () => ({}),
  lower: () => [],
};
