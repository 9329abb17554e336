import type { Node } from '../../../ir/graph.ts';
import type { Body } from '../../onnx/body-writer.ts';
import { callOf, overloadOf, type Call, type KernelName } from './call.ts';
import { clusterMatMul, clusterMatMulQuantize, weightMatMul } from './products.ts';
import { dequantizeClusters, normReorderQuantize, quantizeClusters, quantizeTokens } from './quantize.ts';

export { isKernel } from './call.ts';

const bodies: Readonly<Record<KernelName, (call: Call) => Body>> = {
  QuantizeClusters: quantizeClusters,
  DequantizeClusters: dequantizeClusters,
  QuantizeTokens: quantizeTokens,
  LayerNormReorderQuantize: (call) => normReorderQuantize(call, false),
  RmsNormReorderQuantize: (call) => normReorderQuantize(call, true),
  ClusterMatMul: clusterMatMul,
  ClusterMatMulQuantize: clusterMatMulQuantize,
  Int4MatMul: (call) => weightMatMul(call, 4),
  Int3MatMul: (call) => weightMatMul(call, 3),
};

/** The overload of an operator of the kernel library that a node calls. */
export const kernelOverload = (node: Node): string => overloadOf(callOf(node));

/** What a node of the kernel library computes, in standard operators. */
export function kernelBody(node: Node): Body {
  const call = callOf(node);
  return bodies[call.name](call);
}
