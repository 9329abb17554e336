import { graphsOf, type Attribute } from './attributes.ts';
import { Graph, Node, type Value } from './graph.ts';

/** A copy that shares tensors but no nodes or values: cheap, whatever the size of the weights. */
export function cloneGraph(graph: Graph, parent: Graph | null = null, outer: ReadonlyMap<Value, Value> = new Map()): Graph {
  const copy = new Graph(graph.name, parent);
  const copies = new Map(outer);
  copy.carried = graph.carried;
  for (const [domain, version] of graph.opsets) copy.opsets.set(domain, version);
  for (const [key, text] of graph.metadata) copy.metadata.set(key, text);
  const copied = (from: Value, to: Value): void => {
    to.carried = from.carried;
    copies.set(from, to);
  };
  for (const v of graph.inputs) copied(v, copy.addInput(v.name, v.type));
  for (const v of graph.constants) copied(v, copy.addConstant(v.name, v.constant!));
  for (const node of graph.nodes) {
    const made = cloneNode(node, copy, copies);
    copy.append(made);
    node.outputs.forEach((o, i) => copied(o, made.outputs[i]!));
  }
  for (const v of graph.outputs) copy.addOutput(copies.get(v)!);
  return copy;
}

/** A copy of one node, which reads the copies of its operands where `copies` has one. Names of nodes must differ within a model. */
export function cloneNode(node: Node, into: Graph, copies: ReadonlyMap<Value, Value>, name = node.name): Node {
  const attributes = [...node.attributes].map(([k, a]) => [k, cloneAttribute(a, into, copies)] as const);
  const made = new Node({
    op: node.op,
    name,
    loc: node.loc,
    inputs: node.operands.map((u) => u.value && (copies.get(u.value) ?? u.value)),
    results: node.outputs.map((o) => ({ name: o.name, type: o.type })),
    attributes: Object.fromEntries(attributes),
  });
  made.carried = node.carried;
  return made;
}

function cloneAttribute(a: Attribute, into: Graph, copies: ReadonlyMap<Value, Value>): Attribute {
  if (graphsOf(a).length === 0) return a;
  if (a.kind === 'graph') return { kind: 'graph', value: cloneGraph(a.value, into, copies) };
  return a.kind === 'graphs' ? { kind: 'graphs', value: a.value.map((g) => cloneGraph(g, into, copies)) } : a;
}
