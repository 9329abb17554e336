import { eachNode, fail, type Graph } from '../ir/index.ts';

/** Operators that only a quantized model has. */
const quantizing = new RegExp(
  [
    '^(QuantizeLinear|DequantizeLinear|DynamicQuantizeLinear|MatMulInteger|ConvInteger|QLinear.*|qc\\..*)$',
    '^com\\.microsoft\\.(MatMul(NBits|Bnb4|FpQ4|IntegerToFloat)|DynamicQuantize.*|QuantizeLinear|DequantizeLinear)$',
    '^com\\.microsoft\\.(Q(Attention|Gemm|MoE|EmbedLayerNormalization|Linear.*|Ordered.*)|GatherBlockQuantized)$',
  ].join('|'),
);

/** Throws QC4108 for a model that somebody has quantized: its float original is what can be compiled. */
export function refuseQuantized(graph: Graph, file: string): void {
  const made = graph.metadata.get('qc.pipeline');
  const hint = 'compile the float model that it was made from';
  if (made !== undefined) fail('QC4108', `${file} was written by qc, with the pipeline ${made}`, undefined, { hint });
  const counts = new Map<string, number>();
  for (const { op } of eachNode(graph)) if (quantizing.test(op)) counts.set(op, (counts.get(op) ?? 0) + 1);
  const listed = [...counts].map(([op, n]) => `${n} ${op}`).join(', ');
  if (counts.size > 0) fail('QC4108', `${file} is quantized already: it has ${listed}`, undefined, { hint });
}
