import type { Graph } from '../../ir/graph.ts';
import { quantizedWeight } from './quantized.ts';
import { lowerActivation, lowerAttention, lowerDynamic, lowerTransform, lowerWeight, type PlainWeights } from './standard.ts';
import { eachNode, eraseSites } from './walk.ts';

/** What is left of the IR's own operators, and Attention, in standard operators. */
export function lowerRest(graph: Graph, weights: PlainWeights): void {
  eraseSites(graph);
  eachNode(graph, ['qc.Encode', 'qc.Decode'], (node) => lowerTransform(graph, node));
  // Activations first: an offset that they take off enters biases through weights that are still in one piece.
  eachNode(graph, ['qc.FakeQuantize'], (node) => quantizedWeight(node.output) ?? lowerActivation(graph, node));
  eachNode(graph, ['qc.FakeQuantize'], (node) => {
    const weight = quantizedWeight(node.output);
    if (weight) lowerWeight(graph, weight, weights);
  });
  eachNode(graph, ['qc.DynamicQuantize'], (node) => lowerDynamic(graph, node));
  eachNode(graph, ['Attention'], (node) => lowerAttention(graph, node));
}
