import { eachNode, fail, type Graph } from '../ir/index.ts';

/** Operators that only a quantized model has. */
const quantizing: ReadonlySet<string> = new Set([
  ...['QuantizeLinear', 'DequantizeLinear', 'DynamicQuantizeLinear', 'MatMulInteger', 'ConvInteger'],
  ...['MatMulNBits', 'MatMulBnb4', 'MatMulFpQ4', 'MatMulIntegerToFloat', 'QuantizeLinear', 'DequantizeLinear'].map(microsoft),
  ...['QAttention', 'QGemm', 'QMoE', 'QEmbedLayerNormalization', 'GatherBlockQuantized'].map(microsoft),
]);

/** The first letters of families of them. */
const families = ['qc.', 'QLinear', ...['DynamicQuantize', 'QLinear', 'QOrdered'].map(microsoft)];

const isQuantizing = (op: string): boolean => quantizing.has(op) || families.some((start) => op.startsWith(start));

function microsoft(name: string): string {
  return `com.microsoft.${name}`;
}

/** Throws QC4108 for a model that somebody has quantized: its float original is what can be compiled. */
export function refuseQuantized(graph: Graph, file: string): void {
  const made = graph.metadata.get('qc.pipeline');
  const hint = 'compile the float model that it was made from';
  if (made !== undefined) fail('QC4108', `${file} was written by qc, with the pipeline ${made}`, undefined, { hint });
  const counts = new Map<string, number>();
  for (const { op } of eachNode(graph)) if (isQuantizing(op)) counts.set(op, (counts.get(op) ?? 0) + 1);
  const listed = [...counts].map(([op, n]) => `${n} ${op}`).join(', ');
  if (counts.size > 0) fail('QC4108', `${file} is quantized already: it has ${listed}`, undefined, { hint });
}
