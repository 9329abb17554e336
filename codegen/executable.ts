import { float } from '../ir/attributes.ts';
import { cloneGraph } from '../ir/clone.ts';
import type { Graph, Node } from '../ir/graph.ts';
import { eachNode } from '../ir/walk.ts';
import { settleOpset } from './onnx/opset.ts';
import { lowerAttention } from './targets/standard.ts';

/** Operators that draw numbers, another series for each session unless a seed is given. */
const random = new Set(['RandomNormal', 'RandomNormalLike', 'RandomUniform', 'RandomUniformLike', 'Multinomial', 'Bernoulli']);

/** Operators of which ONNX Runtime (1.30 and 1.32) has no kernel in their version of opset 22, the same as before but for more types. */
const olderOnly = new Set([...random, 'GlobalLpPool', 'MaxRoiPool', 'RoiAlign']);

/**
 * The graph as ONNX Runtime runs it while passes compare and measure: random operators draw the same numbers in every session, and where
 * an operator is there in an older opset only, the graph goes back to that, and the Attention of opset 23 into primitives. Itself where
 * nothing of that is needed.
 */
export function executable(graph: Graph): Graph {
  if (![...eachNode(graph)].some((n) => olderOnly.has(n.op))) return graph;
  const copy = cloneGraph(graph);
  for (const node of [...eachNode(copy)]) if (random.has(node.op) && !node.attributes.has('seed')) seed(node);
  for (const node of [...copy.nodes]) if (node.op === 'Attention') lowerAttention(copy, node);
  settleOpset(copy);
  return copy;
}

const seed = (node: Node): void => node.graph!.setAttributes(node, { ...Object.fromEntries(node.attributes), seed: float(1) });
