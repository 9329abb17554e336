import type { Graph, Node } from '../../../ir/graph.ts';
import {
  GroupQueryAttention,
  MatMulNBits,
  RotaryEmbedding,
  SkipLayerNormalization,
  SkipSimplifiedLayerNormalization,
} from '../../../ir/ops/microsoft.ts';
import { lowerToGroupQueryAttentions } from '../fused/group-query-attention.ts';
import { lowerToRotaryEmbeddings } from '../fused/rotary-embedding.ts';
import { lowerToSkipNorms } from '../fused/skip-norm.ts';
import { inBlocks, lowerToNbits, weightRefusal } from '../nbits.ts';
import { quantizedWeight, type QuantizedWeight } from '../quantized.ts';
import type { Lowered, Target } from '../target.ts';
import { forEachOf, nameOf } from '../nodes.ts';
import { declineQuantizers } from './decline.ts';
import { lowerToIntegers, type Codes } from './integers.ts';
import { layout } from './layout.ts';
import { quantizerOf } from './quantizer.ts';

/**
 * Stock ONNX Runtime on CUDA. Its provider multiplies f16 with weights of 4 and 8 bits (MatMulNBits), and int8 with int8 to int32
 * (MatMulInteger). It has no operator that quantizes within a product: QDQ around one runs in float, or on the CPU with copies. So an
 * activation is quantized for a long int8 product alone, and otherwise stays in float, which is as fast and more exact. A sum and its norm
 * are one launch where they are one operator; on the CPU, where nothing is launched, that operator is slower than the two.
 */
export const ortCuda: Target = {
  name: 'ort-cuda',
  summary: 'stock ONNX Runtime on CUDA: 4- and 8-bit weights in MatMulNBits, long int8 products in MatMulInteger, the rest in f16',
  operators: new Set(
    [MatMulNBits, GroupQueryAttention, RotaryEmbedding, SkipLayerNormalization, SkipSimplifiedLayerNormalization].map(
      ({ schema }) => schema.op,
    ),
  ),
  floats: 'f16',
  weights: 'float',
  layout,
  decline: declineQuantizers,
  lower(graph) {
    const report: Lowered[] = [];
    const codes: Codes = new Map();
    forEachOf(graph, ['MatMul'], (node) => {
      const weight = quantizedWeight(node.input(1));
      if (weight) report.push({ kind: 'linear', name: nameOf(node), ...lowerProduct(graph, node, weight, codes) });
    });
    lowerToGroupQueryAttentions(graph);
    lowerToRotaryEmbeddings(graph);
    lowerToSkipNorms(graph);
    return report;
  },
};

/** MatMulInteger where the input is still quantized; else MatMulNBits, for weights whose row groups can be cut into blocks; else f16. */
function lowerProduct(graph: Graph, node: Node, weight: QuantizedWeight, codes: Codes): Omit<Lowered, 'kind' | 'name'> {
  if (quantizerOf(node.input(0))) return { done: lowerToIntegers(graph, node, weight, codes) };
  const blocks = inBlocks(weight);
  const refused = weightRefusal(blocks);
  if (refused !== null) return { left: `runs in float: ${refused}` };
  // The bias stays an Add: older releases refuse one in their CUDA kernel.
  return { done: lowerToNbits(graph, node, { weight: blocks, x: node.input(0)!, quantizes: false, biased: false }) };
}
