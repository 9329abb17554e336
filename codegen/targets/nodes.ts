import type { Graph, Node } from '../../ir/graph.ts';
import { operatorsWith } from '../../ir/ops/traits.ts';

/** The name by which the ledger knows a node. */
export const nameOf = (node: Node): string => (node.name === '' ? node.output.name : node.name);

/** Takes sites and observers out: nothing crosses them while passes run, and lowering is when they have served. */
export function eraseSites(graph: Graph): void {
  const marks = operatorsWith((t) => t.marks === true);
  forEachOf(graph, marks, (node) => {
    graph.replaceUses(node.output, node.input(0)!);
    graph.erase(node);
  });
}

/** Runs `f` on every node of one of these operators that is still in the graph. */
export function forEachOf(graph: Graph, ops: readonly string[], f: (node: Node) => void): void {
  const wanted = new Set(ops);
  for (const node of [...graph.nodes]) if (wanted.has(node.op) && node.graph === graph) f(node);
}
