import { cloneNode } from './clone.ts';
import { Graph, type Node, type Value } from './graph.ts';
import type { TensorType } from './types.ts';

/** Consecutive nodes of a graph, with the values that cross into them and out of them. */
export interface Slice {
  readonly nodes: readonly Node[];
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
}

/** The values that a node reads, those captured by its bodies included. */
export function readsOf(node: Node): readonly Value[] {
  const direct = node.operands.flatMap((u) => u.value ?? []);
  return node.bodies.length === 0 ? direct : [...direct, ...node.bodies.flatMap(capturedBy)];
}

function capturedBy(body: Graph): readonly Value[] {
  const own = new Set([...body.inputs, ...body.constants, ...[...body.nodes].flatMap((n) => n.outputs)]);
  return [...[...body.nodes].flatMap(readsOf), ...body.outputs].filter((v) => !own.has(v));
}

/** The crossing values of some nodes of a graph. */
export function sliceOf(graph: Graph, nodes: readonly Node[]): Slice {
  const inside = new Set(nodes);
  const made = new Set(nodes.flatMap((n) => n.outputs));
  const inputs = new Set(nodes.flatMap(readsOf).filter((v) => !made.has(v) && v.constant === null));
  const isRead = (v: Value) => graph.outputs.includes(v) || [...v.uses].some((u) => !inside.has(outermost(u.node, graph)));
  return { nodes, inputs: [...inputs], outputs: [...made].filter(isRead) };
}

/** The nodes of a slice as a graph of their own, which shares the tensors. `outputs` default to the slice's; inputs have the types of `typeOf`. */
export function extract(
  name: string,
  slice: Slice,
  outputs: readonly Value[] = slice.outputs,
  typeOf: (input: Value) => TensorType | null = (input) => input.type,
): { readonly graph: Graph; readonly copies: ReadonlyMap<Value, Value> } {
  const root = rootOf(slice);
  const graph = new Graph(name);
  if (root) for (const [domain, version] of root.opsets) graph.opsets.set(domain, version);
  if (root) graph.carried = root.carried;
  const copies = new Map<Value, Value>();
  for (const v of slice.inputs) copies.set(v, graph.addInput(v.name, typeOf(v)));
  for (const node of slice.nodes) {
    for (const v of readsOf(node)) if (v.constant && !copies.has(v)) copies.set(v, graph.addConstant(v.name, v.constant));
    const made = graph.append(cloneNode(node, graph, copies));
    node.outputs.forEach((o, i) => {
      made.outputs[i]!.carried = o.carried;
      copies.set(o, made.outputs[i]!);
    });
  }
  for (const v of outputs) if (v.constant && !copies.has(v)) copies.set(v, graph.addConstant(v.name, v.constant));
  for (const v of outputs) graph.addOutput(copies.get(v)!);
  return { graph, copies };
}

/**
 * Puts a part that was taken out with `extract`, and changed since, in the place of the slice. Its inputs and outputs are the slice's values
 * of these names; what the slice gives out keeps its name.
 */
export function putBack(graph: Graph, slice: Slice, part: Graph): void {
  const anchor = slice.nodes.at(-1)!;
  const givenOut = new Map(slice.outputs.map((v) => [v.name, v] as const));
  for (const node of slice.nodes)
    for (const v of node.outputs) if (!givenOut.has(v.name)) graph.rename(v, graph.freshName(`${v.name}.old`));
  const home = new Map(slice.nodes.flatMap(readsOf).flatMap((v) => (v.constant ? [[v.constant, v] as const] : [])));
  const copies = new Map<Value, Value>();
  const inputs = new Map(slice.inputs.map((v) => [v.name, v] as const));
  for (const v of part.inputs) if (inputs.has(v.name)) copies.set(v, inputs.get(v.name)!);
  for (const v of part.constants) copies.set(v, home.get(v.constant!) ?? graph.addConstant(graph.freshName(v.name), v.constant!));
  for (const node of part.nodes) {
    const isTaken = node.outputs.map((o) => graph.isNameTaken(o.name));
    const made = graph.insertBefore(anchor, cloneNode(node, graph, copies));
    made.outputs.forEach((out, i) => {
      if (isTaken[i]) graph.rename(out, graph.freshName(out.name));
      copies.set(node.outputs[i]!, out);
    });
  }
  for (const out of part.outputs) graph.replace(givenOut.get(out.name)!, copies.get(out)!);
  for (const node of slice.nodes.toReversed()) graph.erase(node);
}

/** The node of `graph` that holds `node`, which may lie in a body. */
function outermost(node: Node, graph: Graph): Node {
  let at = node;
  while (at.graph !== null && at.graph !== graph && at.graph.holder !== null) at = at.graph.holder;
  return at;
}

const rootOf = (slice: Slice): Graph | null => slice.nodes[0]?.graph ?? null;
