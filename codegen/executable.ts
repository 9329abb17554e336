import { float } from '../ir/attributes.ts';
import { cloneGraph } from '../ir/clone.ts';
import type { Graph, Node } from '../ir/graph.ts';
import { Attention } from '../ir/ops/generated.ts';
import { operatorsWith, traitsOf } from '../ir/ops/traits.ts';
import { eachNode } from '../ir/walk.ts';
import { settleOpset } from './onnx/opset.ts';
import { lowerRmsNormalizations } from './targets/standard/rms-normalization.ts';
import { lowerRotaryEmbeddings } from './targets/standard/rotary-embedding.ts';
import { lowerAttentions } from './targets/standard/attention.ts';

/** Operators of which ONNX Runtime (1.30 and 1.32) has no kernel in their version of opset 22, the same as before but for more types. */
const olderOnly = new Set([...operatorsWith((t) => t.random === true), 'GlobalLpPool', 'MaxRoiPool', 'RoiAlign']);

/**
 * The graph as ONNX Runtime runs it while passes compare and measure: random operators, which draw another series in each session unless
 * they have a seed, draw the same numbers in every session, and where
 * an operator is there in an older opset only, the graph goes back to that, and operators of opset 23 into primitives. So it does for
 * Attention, because the errata of that operator changed the order of mask and soft cap, and what tokens get that see no key. Itself where
 * nothing of that is needed.
 */
export function executable(graph: Graph): Graph {
  if (![...eachNode(graph)].some((n) => olderOnly.has(n.op) || n.op === Attention.schema.op)) return graph;
  const copy = cloneGraph(graph);
  for (const node of [...eachNode(copy)]) if (traitsOf(node.op).random && !node.attributes.has('seed')) seed(node);
  lowerAttentions(copy);
  lowerRotaryEmbeddings(copy);
  lowerRmsNormalizations(copy);
  settleOpset(copy);
  return copy;
}

const seed = (node: Node): void => node.graph!.setAttributes(node, { ...Object.fromEntries(node.attributes), seed: float(1) });
