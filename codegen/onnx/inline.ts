import { fail } from '../../ir/diagnostics.ts';
import { placeOf } from './files.ts';
import { isDefaultDomain } from './import-attributes.ts';
import { allNames } from './import-graph.ts';
import type { AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto } from './proto-types.ts';
import { toNumber } from './proto.ts';

/** A model whose graph calls none of its own functions, except those of `qc`. */
export interface Inlined {
  readonly model: ModelProto;
  /** The version of the default operator set that a node was written for, where it is another one than the model's. */
  readonly opsets: ReadonlyMap<NodeProto, number>;
}

/** Calls nested deeper than this are taken for functions that call themselves. */
const deepest = 64;

/** Puts the bodies of local functions in the place of their calls, so that passes see what is inside. `kept` domains stay calls. */
export function inlineFunctions(model: ModelProto, file: string, kept: ReadonlySet<string>): Inlined {
  const functions = new Map((model.functions ?? []).filter((f) => !kept.has(f.domain ?? '')).map((f) => [keyOf(f), f]));
  const opsets = new Map<NodeProto, number>();
  if (functions.size === 0 || !model.graph) return { model, opsets };
  const names = allNames(model.graph);
  const inliner: Inliner = { functions, names, opsets, version: versionIn(model.opsetImport), file };
  const graph = inGraph(model.graph, inliner, 0);
  const imports = new Map((model.opsetImport ?? []).map((o) => [o.domain ?? '', o]));
  for (const f of functions.values()) for (const o of f.opsetImport ?? []) if (!imports.has(o.domain ?? '')) imports.set(o.domain ?? '', o);
  return {
    model: {
      ...model,
      graph,
      opsetImport: [...imports.values()],
      functions: (model.functions ?? []).filter((f) => kept.has(f.domain ?? '')),
    },
    opsets,
  };
}

interface Inliner {
  readonly functions: ReadonlyMap<string, FunctionProto>;
  readonly names: Set<string>;
  readonly opsets: Map<NodeProto, number>;
  readonly version: number;
  readonly file: string;
}

/** One call of a function. */
interface Place {
  readonly call: NodeProto;
  readonly f: FunctionProto;
  /** What names of this call begin with. */
  readonly prefix: string;
  readonly names: Set<string>;
}

const keyOf = ({ domain = '', name = '', overload = '' }: FunctionProto): string => `${domain}:${name}:${overload}`;
const calledBy = ({ domain = '', opType = '', overload = '' }: NodeProto): string => `${domain}:${opType}:${overload}`;

const versionIn = (imports: ModelProto['opsetImport']): number =>
  toNumber((imports ?? []).find((o) => isDefaultDomain(o.domain))?.version) || 1;

const inGraph = (graph: GraphProto, inliner: Inliner, depth: number): GraphProto => ({
  ...graph,
  node: (graph.node ?? []).flatMap((node) => inNode(node, inliner, depth)),
});

function inNode(node: NodeProto, inliner: Inliner, depth: number): readonly NodeProto[] {
  const called = inliner.functions.get(calledBy(node));
  if (called) return inlined(node, called, inliner, depth + 1);
  const holds = (node.attribute ?? []).some((a) => a.g || a.graphs?.length);
  if (!holds) return [node];
  const own = { ...node, attribute: node.attribute!.map((a) => inAttribute(a, (g) => inGraph(g, inliner, depth))) };
  const version = inliner.opsets.get(node);
  if (version !== undefined) inliner.opsets.set(own, version);
  return [own];
}

const inAttribute = (a: AttributeProto, change: (g: GraphProto) => GraphProto): AttributeProto => ({
  ...a,
  ...(a.g ? { g: change(a.g) } : {}),
  ...(a.graphs?.length ? { graphs: a.graphs.map(change) } : {}),
});

/** The nodes of a function for one call, with names of their own. */
function inlined(call: NodeProto, f: FunctionProto, inliner: Inliner, depth: number): readonly NodeProto[] {
  if (depth > deepest) fail('QC4105', `function ${f.name} calls itself`, placeOf(inliner.file));
  const prefix = call.name || call.output?.find((name) => name !== '') || (f.name ?? '');
  const renamed = new Map<string, string>();
  (f.input ?? []).forEach((name, i) => renamed.set(name, call.input?.[i] ?? ''));
  const given = (f.output ?? []).map((name, i) => [name, call.output?.[i] ?? ''] as const);
  // A result that is an operand as it came needs a node to carry its name.
  const passed = given.filter(([name, to]) => to !== '' && renamed.has(name));
  for (const [name, to] of given) if (to !== '' && !renamed.has(name)) renamed.set(name, to);
  for (const node of f.node ?? [])
    for (const name of node.output ?? [])
      if (name !== '' && !renamed.has(name)) renamed.set(name, fresh(`${prefix}/${name}`, inliner.names));
  const version = versionIn(f.opsetImport);
  const place = { call, f, prefix, names: inliner.names };
  const nodes = (f.node ?? []).map((node) => bound(node, place, renamed));
  if (version !== inliner.version) for (const node of nodes) inliner.opsets.set(node, version);
  const copies = passed.map(([name, to]): NodeProto => ({ opType: 'Identity', input: [renamed.get(name)!], output: [to] }));
  return [...nodes.flatMap((node) => inNode(node, inliner, depth)), ...copies];
}

/** A node of a body with the names and attributes of the call. */
function bound(node: NodeProto, place: Place, renamed: ReadonlyMap<string, string>): NodeProto {
  const rename = (name: string): string => renamed.get(name) ?? name;
  const attribute = (node.attribute ?? [])
    .flatMap((a) => boundAttribute(a, place.call, place.f))
    .map((a) => inAttribute(a, (g) => captured(g, place, renamed)));
  return {
    ...node,
    ...(node.name ? { name: `${place.prefix}/${node.name}` } : {}),
    input: (node.input ?? []).map(rename),
    output: (node.output ?? []).map(rename),
    attribute,
  };
}

/** An attribute that takes its value from the call, or from the function's default; without either it is left out. */
function boundAttribute(a: AttributeProto, call: NodeProto, f: FunctionProto): readonly AttributeProto[] {
  if (!a.refAttrName) return [a];
  const value = [...(call.attribute ?? []), ...(f.attributeProto ?? [])].find((given) => given.name === a.refAttrName);
  return value ? [{ ...value, ...(a.name === undefined ? {} : { name: a.name }) }] : [];
}

/**
 * A graph inside the body: what it takes from around it has other names now, and what it makes gets names of its own, since those of a
 * function may be taken around the call.
 */
function captured(graph: GraphProto, place: Place, around: ReadonlyMap<string, string>): GraphProto {
  const named = [...(graph.input ?? []), ...(graph.initializer ?? []), ...(graph.sparseInitializer ?? []).flatMap((t) => t.values ?? [])];
  const own = new Set([...named.map((v) => v.name ?? ''), ...(graph.node ?? []).flatMap((n) => n.output ?? [])]);
  own.delete('');
  const renamed = new Map([...around, ...[...own].map((name) => [name, fresh(`${place.prefix}/${name}`, place.names)] as const)]);
  const renaming = <T extends { readonly name?: string }>(v: T): T => ({ ...v, name: renamed.get(v.name ?? '') ?? v.name ?? '' });
  return {
    ...graph,
    ...(graph.input ? { input: graph.input.map(renaming) } : {}),
    ...(graph.initializer ? { initializer: graph.initializer.map(renaming) } : {}),
    ...(graph.sparseInitializer
      ? { sparseInitializer: graph.sparseInitializer.map((t) => (t.values ? { ...t, values: renaming(t.values) } : t)) }
      : {}),
    ...(graph.valueInfo ? { valueInfo: graph.valueInfo.map(renaming) } : {}),
    output: (graph.output ?? []).map(renaming),
    node: (graph.node ?? []).map((n) => bound(n, place, renamed)),
  };
}

function fresh(hint: string, names: Set<string>): string {
  let name = hint;
  for (let i = 1; names.has(name); i++) name = `${hint}_${i}`;
  names.add(name);
  return name;
}
