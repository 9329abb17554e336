import type { Graph } from '../../ir/graph.ts';
import { quantizedWeight } from './quantized.ts';
import { lowerActivation } from './standard/activation.ts';
import { lowerAttentions } from './standard/attention.ts';
import { lowerDynamic } from './standard/dynamic.ts';
import { lowerTransform } from './standard/transform.ts';
import { lowerWeight, type PlainWeights } from './standard/weight.ts';
import { forEachOf, eraseSites } from './nodes.ts';

/** What is left of the IR's own operators, and attentions, in standard operators. */
export function lowerRest(graph: Graph, weights: PlainWeights): void {
  eraseSites(graph);
  forEachOf(graph, ['qc.Encode', 'qc.Decode'], (node) => lowerTransform(graph, node));
  // Activations first: an offset that they take off enters biases through weights that are still in one piece.
  forEachOf(graph, ['qc.FakeQuantize'], (node) => quantizedWeight(node.output) ?? lowerActivation(graph, node));
  forEachOf(graph, ['qc.FakeQuantize'], (node) => {
    const weight = quantizedWeight(node.output);
    if (weight) lowerWeight(graph, weight, weights);
  });
  forEachOf(graph, ['qc.DynamicQuantize'], (node) => lowerDynamic(graph, node));
  lowerAttentions(graph);
}
