import type { Graph, Node } from '../../../ir/graph.ts';
import { DynamicQuantize, FakeQuantize } from '../../../ir/ops/qc.ts';
import { GroupQueryAttention, MatMulNBits, RotaryEmbedding } from '../../../ir/ops/microsoft.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import { lowerToGroupQueryAttentions } from '../fused/group-query-attention.ts';
import { lowerToRotaryEmbeddings } from '../fused/rotary-embedding.ts';
import { lowerInt4InInt8 } from '../int4-in-int8.ts';
import { lowerToNbits, nbitsRefusal } from '../nbits.ts';
import { quantizedWeight, type QuantizedWeight } from '../quantized.ts';
import type { Lowered, Target } from '../target.ts';
import { forEachOf, nameOf } from '../nodes.ts';
import { layout } from './layout.ts';

/** Stock ONNX Runtime on the CPU: MatMulNBits for weights in blocks, per-tensor QDQ that ORT fuses to integer products. */
export const ortCpu: Target = {
  name: 'ort-cpu',
  summary: 'stock ONNX Runtime on the CPU: MatMulNBits and fused static int8; small and fast',
  operators: new Set([MatMulNBits, GroupQueryAttention, RotaryEmbedding].map(({ schema }) => schema.op)),
  floats: 'f32',
  weights: 'signed',
  layout,
  lower(graph) {
    const report: Lowered[] = [];
    forEachOf(graph, ['MatMul'], (node) => {
      const weight = quantizedWeight(node.input(1));
      if (weight) report.push({ kind: 'linear', name: nameOf(node), ...lowerProduct(graph, node, weight) });
    });
    lowerToGroupQueryAttentions(graph);
    lowerToRotaryEmbeddings(graph);
    return report;
  },
};

/** MatMulNBits where it fits; else static int8, which ORT fuses when the input has one 8-bit scale; else float behind QDQ. */
function lowerProduct(graph: Graph, node: Node, weight: QuantizedWeight): Omit<Lowered, 'kind' | 'name'> {
  const refused = nbitsRefusal(node, weight);
  if (refused === null) {
    const input = viewAs(DynamicQuantize, node.input(0)!.producer);
    return { done: lowerToNbits(graph, node, { weight, x: input?.x ?? node.input(0)!, quantizes: input !== null, biased: true }) };
  }
  if (!hasOneByteScale(node)) return { left: `runs in float behind QDQ: ${refused}` };
  const whole = weight.sizes.length === 1;
  if (weight.qmax > 7 && whole) return { done: 'fused static int8' };
  return lowerInt4InInt8(graph, weight)
    ? { done: 'fused static int8, weight stored in 4 bits' }
    : { left: 'runs in float behind QDQ: its row groups have scales of their own' };
}

/** Whether the input is quantized with one static scale of 8 bits. */
function hasOneByteScale(node: Node): boolean {
  const input = viewAs(FakeQuantize, node.input(0)?.producer ?? null);
  return input !== null && input.scale.constant?.shape[0] === 1 && input.qmax === 127;
}
