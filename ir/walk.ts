import type { Graph, Node } from './graph.ts';

/** The nodes of a graph and of the graphs inside it, each node in front of those of its bodies. */
export function* eachNode(graph: Graph): Generator<Node> {
  for (const node of graph.nodes) {
    yield node;
    yield* nodesInBodies(node);
  }
}

/** A graph and the graphs inside it, the outer ones first. */
export function* eachGraph(graph: Graph): Generator<Graph> {
  yield graph;
  for (const node of graph.nodes) for (const body of node.bodies) yield* eachGraph(body);
}

/** The nodes of the graphs inside a node, however deep. */
export function* nodesInBodies(node: Node): Generator<Node> {
  for (const body of node.bodies) yield* eachNode(body);
}
