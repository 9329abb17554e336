import { int } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import type { Graph, Node } from '../../../ir/graph.ts';
import { Cast } from '../../../ir/ops/generated.ts';
import { GroupQueryAttention } from '../../../ir/ops/microsoft.ts';
import { FakeQuantize } from '../../../ir/ops/qc.ts';
import { isOutput } from '../../../ir/pattern.ts';
import { tensorType } from '../../../ir/types.ts';
import { emitKernel } from '../../kernels/emit-kernel.ts';
import { kernelOperators } from '../../kernels/operators.ts';
import { lowerToGroupQueryAttentions } from '../fused/group-query-attention.ts';
import type { Lowered } from '../target.ts';
import { forEachOf, eraseSites, nameOf } from '../nodes.ts';
import { fuseNorm, fuseProduct } from './fusions.ts';
import { lowerProduct, type Codes } from './products.ts';

/** The operators of our library, as a graph spells them, and what ONNX Runtime has for caches. */
export const operators: ReadonlySet<string> = new Set([
  ...Object.keys(kernelOperators).map((name) => `qc.${name}`),
  GroupQueryAttention.schema.op,
]);

/** Turns products, quantizers and norms into our operators, which are the same on every device. */
export function lowerToKernels(graph: Graph): readonly Lowered[] {
  const report: Lowered[] = [];
  const codes: Codes = new Map();
  eraseSites(graph);
  forEachOf(graph, ['MatMul'], (node) => {
    const name = nameOf(node);
    const what = lowerProduct(graph, node, codes);
    if (what) report.push({ kind: 'linear', name, ...what });
  });
  for (const [fake, quantize] of codes) dropQuantizer(graph, fake, quantize);
  forEachOf(graph, ['qc.QuantizeClusters'], (node) => {
    if (fuseProduct(graph, node)) return;
    const done = fuseNorm(graph, node);
    if (done) report.push(done);
  });
  lowerToGroupQueryAttentions(graph);
  return report;
}

/** The quantizer whose codes a kernel makes; who reads its result in float gets it from the codes. */
function dropQuantizer(graph: Graph, quantizer: Node, made: Node): void {
  const { output } = quantizer;
  const read = output.uses.size > 0 || isOutput(output);
  if (read && quantizer.op !== FakeQuantize.schema.op) return;
  if (read) {
    const { type } = output;
    const dequantize = emitKernel(graph, quantizer, 'DequantizeClusters', {
      operands: { codes: made.output, scale: made.input(1), zero: made.input(2) },
      results: { y: type && tensorType('f32', type.shape) },
      attributes: Object.fromEntries([...made.attributes].filter(([name]) => name === 'groups' || name === 'bits')),
      stem: output.name,
    });
    const half = type?.dtype === 'f16';
    const value = half
      ? Builder.before(quantizer).make(Cast, { input: dequantize.output }, { attributes: { to: int(10) }, like: dequantize.output, type })
          .output
      : dequantize.output;
    graph.replace(output, value);
  }
  graph.erase(quantizer);
}
