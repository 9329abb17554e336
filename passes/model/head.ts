import type { Graph, Node, Value } from '../../ir/graph.ts';
import { hasRole, recordOf } from '../operators/index.ts';
import { weightOf, type Linear } from './linears.ts';
import { isNorm } from './norms.ts';

/**
 * Whether a linear is the model's head, the logits behind the last norm, which schemes leave in float by default. A linear
 * deeper inside that happens to give a result of the model is none.
 */
export function isHead(graph: Graph, { node }: Linear): boolean {
  const norm = normRead(node.input(0));
  return norm !== null && isGivenOut(graph, node.output) && !reaches(norm, isNorm) && !reaches(node, (n) => weightOf(n) !== null);
}

/** Whether the caller gets a value, or its elements behind a bias. */
function isGivenOut(graph: Graph, value: Value): boolean {
  if (graph.outputs.includes(value)) return true;
  const use = value.soleUse;
  if (use === null || use.index !== 0) return false;
  const handsOn = recordOf(use.node).holds !== undefined || hasRole(use.node, 'sum');
  return handsOn && isGivenOut(graph, use.node.output);
}

/** The norm that a value comes from, chosen from, or quantized from; null if none. */
function normRead(value: Value | null): Node | null {
  const node = value?.producer ?? null;
  if (node === null || isNorm(node)) return node;
  const handsOn = recordOf(node).holds !== undefined || hasRole(node, 'marker') || hasRole(node, 'quantizer');
  return handsOn ? normRead(node.input(0)) : null;
}

/** Whether what a node gives goes on into one that passes `test`. */
function reaches(from: Node, test: (node: Node) => boolean): boolean {
  const seen = new Set<Node>();
  const open = [from];
  for (let node = open.pop(); node; node = open.pop()) {
    for (const use of node.outputs.flatMap((o) => [...o.uses])) {
      if (test(use.node)) return true;
      if (!seen.has(use.node)) open.push(use.node);
      seen.add(use.node);
    }
  }
  return false;
}
