import { fail, type Location } from '../../ir/diagnostics.ts';
import type { GraphProto, NodeProto } from './proto-types.ts';

/** Names that a graph defines, each once; a second definition is QC4105. */
export function definedNames(graph: GraphProto, file: string): Set<string> {
  const names = new Set<string>();
  const define = (name: string, what: string): void => {
    if (names.has(name)) fail('QC4105', `%${name} is defined twice, the second time by ${what}`, { kind: 'onnx', file, node: name });
    names.add(name);
  };
  for (const input of graph.input ?? []) define(input.name ?? '', 'an input');
  // An initializer may share its name with an input: it is the input's default.
  const inputs = new Set(names);
  for (const name of initializerNames(graph)) if (!inputs.delete(name)) define(name, 'an initializer');
  for (const node of graph.node ?? []) for (const name of node.output ?? []) if (name !== '') define(name, `a ${node.opType} node`);
  return names;
}

/** The nodes with every producer before its readers, otherwise in the given order; QC4105 for a cycle. */
export function sortedNodes(nodes: readonly NodeProto[], place: (node: NodeProto) => Location): readonly NodeProto[] {
  const producers = new Map<string, number>();
  nodes.forEach((node, i) => (node.output ?? []).forEach((name) => void (name !== '' && producers.set(name, i))));
  const needs = nodes.map((node) => neededNames(node).flatMap((name) => producers.get(name) ?? []));
  if (needs.every((list, i) => list.every((p) => p < i))) return nodes;
  const sorted: NodeProto[] = [];
  const state = new Uint8Array(nodes.length);
  for (let i = 0; i < nodes.length; i++) visit(i);
  return sorted;

  // Depth first with a stack of its own: a chain of many thousand nodes must not exhaust the call stack.
  function visit(start: number): void {
    const stack = [start];
    while (stack.length > 0) {
      const i = stack.at(-1)!;
      if (state[i] !== 0) {
        stack.pop();
        if (state[i] === open) sorted.push(nodes[i]!);
        state[i] = done;
        continue;
      }
      state[i] = open;
      const missing = needs[i]!.filter((p) => state[p] !== done);
      if (missing.some((p) => state[p] === open)) fail('QC4105', `a ${nodes[i]!.opType} node needs its own result`, place(nodes[i]!));
      for (const p of missing.toReversed()) stack.push(p);
    }
  }
}

const open = 1;
const done = 2;

export const initializerNames = (graph: GraphProto): string[] => [
  ...(graph.initializer ?? []).map((t) => t.name ?? ''),
  ...(graph.sparseInitializer ?? []).map((t) => t.values?.name ?? ''),
];

export const bodiesOf = (node: NodeProto): GraphProto[] =>
  (node.attribute ?? []).flatMap((a) => [...(a.g ? [a.g] : []), ...(a.graphs ?? [])]);

function neededNames(node: NodeProto): readonly string[] {
  const bodies = bodiesOf(node);
  return bodies.length === 0 ? (node.input ?? []) : [...(node.input ?? []), ...bodies.flatMap((body) => [...freeNames(body)])];
}

/** The names that a body takes from the graphs around it. */
function freeNames(graph: GraphProto): Set<string> {
  const free = new Set((graph.output ?? []).map((o) => o.name ?? ''));
  for (const node of graph.node ?? []) for (const name of neededNames(node)) free.add(name);
  for (const input of graph.input ?? []) free.delete(input.name ?? '');
  for (const name of initializerNames(graph)) free.delete(name);
  for (const node of graph.node ?? []) for (const name of node.output ?? []) free.delete(name);
  return free;
}
