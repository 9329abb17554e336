import type { Graph, Node } from '../../ir/graph.ts';

/** The nodes of a graph and of the graphs inside it. */
export function* eachNode(graph: Graph): Generator<Node> {
  for (const node of graph.nodes) {
    yield node;
    for (const body of node.bodies) yield* eachNode(body);
  }
}
