import type { Graph, Node } from './graph.ts';

/** The nodes of a graph and of the graphs inside it. */
export function* eachNode(graph: Graph): Generator<Node> {
  for (const node of graph.nodes) {
    yield node;
    yield* nodesInBodies(node);
  }
}

/** The nodes of the graphs inside a node, however deep. */
export function* nodesInBodies(node: Node): Generator<Node> {
  for (const body of node.bodies) yield* eachNode(body);
}
