import type { Graph, Use } from '../../../ir/graph.ts';
import { Add, Attention } from '../../../ir/ops/generated.ts';
import { Decode, Encode } from '../../../ir/ops/qc.ts';
import { isOutput } from '../../../ir/pattern.ts';
import { quantizedWeight } from '../quantized.ts';
import type { Lowered } from '../target.ts';
import { forEachOf, eraseSites, nameOf } from '../nodes.ts';
import { integerRefusal } from './integers.ts';
import { quantizerOf, quantizers } from './quantizer.ts';

/** Has every reader of a quantized activation read it in float, but for the products that compute in integers. */
export function declineQuantizers(graph: Graph): readonly Lowered[] {
  const report: Lowered[] = [];
  eraseSites(graph);
  forEachOf(graph, quantizers, (node) => {
    if (!quantizerOf(node.output)) return;
    for (const use of [...node.output.uses]) {
      const why = refusal(use);
      if (why === null) continue;
      report.push(...leftInFloat(use, why));
      graph.setInput(use.node, use.index, node.input(0));
    }
    // The caller reads the value itself; products may still read codes.
    if (isOutput(node.output)) graph.replaceOutput(node.output, node.input(0)!);
  });
  return report;
}

/** Why a reader does not compute with codes; null for a product that does. */
function refusal({ node, index, value }: Use): string | null {
  const weight = node.op === 'MatMul' && index === 0 ? quantizedWeight(node.input(1)) : null;
  return weight ? integerRefusal(value!.producer!, weight) : 'ONNX Runtime has no operator for it in integers on CUDA';
}

const operands = ['query', 'key', 'value'];

/** What stands between a quantizer and what multiplies: a bias, a transform. */
const between: ReadonlySet<string> = new Set([Add, Encode, Decode].map(({ schema }) => schema.op));

/** What the ledger hears: of the product or Attention that reads the value, behind biases and transforms too. */
function leftInFloat({ node, index }: Use, why: string): readonly Lowered[] {
  if (node.op === 'MatMul') return [{ kind: 'linear', name: nameOf(node), left: `its input stays in float: ${why}` }];
  if (node.op === Attention.schema.op && index < operands.length)
    return [{ kind: 'attention', name: nameOf(node), left: `its ${operands[index]} stays in float: ${why}` }];
  return between.has(node.op) ? [...node.output.uses].flatMap((use) => leftInFloat(use, why)) : [];
}
