import type { Graph } from '../../ir/graph.ts';
import { Observer, Site } from '../../ir/ops/qc.ts';
import { lowerActivation, lowerAttention, lowerDynamic, lowerTransform, lowerWeight } from './standard.ts';
import { quantizedWeight } from './quantized.ts';
import { eachNode, type Target } from './target.ts';

/** Any ONNX runtime: standard operators of opset 21 alone. True to the quantizers, not fast. */
export const portable: Target = {
  name: 'portable',
  summary: 'standard operators of opset 21 for any runtime: exact fake quantization as QDQ, not fast',
  operators: new Set(),
  lower(graph) {
    lowerRest(graph);
    return [];
  },
};

/** Everything of the `qc` domain, and Attention, in standard operators. */
export function lowerRest(graph: Graph): void {
  eachNode(graph, [Site.schema.op, Observer.schema.op], (node) => {
    graph.replaceUses(node.output, node.input(0)!);
    graph.erase(node);
  });
  eachNode(graph, ['qc.Encode', 'qc.Decode'], (node) => lowerTransform(graph, node));
  // Activations first: an offset that they take off enters biases through weights that are still in one piece.
  eachNode(graph, ['qc.FakeQuantize'], (node) => quantizedWeight(node.output) ?? lowerActivation(graph, node));
  eachNode(graph, ['qc.FakeQuantize'], (node) => {
    const weight = quantizedWeight(node.output);
    if (weight) lowerWeight(graph, weight);
  });
  eachNode(graph, ['qc.DynamicQuantize'], (node) => lowerDynamic(graph, node));
  eachNode(graph, ['Attention'], (node) => lowerAttention(graph, node));
}
