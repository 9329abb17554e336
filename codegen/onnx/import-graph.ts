import type { Attributes } from '../../ir/attributes.ts';
import { fail, type Location } from '../../ir/diagnostics.ts';
import { Graph, Node, type ResultInit, type Value } from '../../ir/graph.ts';
import { tensorType, type TensorType } from '../../ir/types.ts';
import { carry, type GraphCarried, type NodeCarried, type ValueCarried } from './carried.ts';
import { attributeDetails, attributeFromProto, constantOf, isDefaultDomain } from './import-attributes.ts';
import { sparseFromProto, tensorDetails, tensorFromProto, type TensorSources } from './import-tensor.ts';
import type { AttributeProto, GraphProto, NodeProto, ValueInfoProto } from './proto-types.ts';
import { without } from './proto.ts';
import { kernelNamed } from '../kernels/names.ts';
import { qcDomain } from './functions.ts';
import { bodiesOf, definedNames, initializerNames, sortedNodes } from './sort.ts';
import { typeFromProto } from './type-protos.ts';

/** What holds for a whole model. */
export interface ModelContext {
  readonly file: string;
  readonly sources: TensorSources;
  /** Before IR version 4, every initializer is also an input, and callers may not override it. */
  readonly initializersAreInputs: boolean;
  /** Every name in the model, so that a name of our own is new. */
  readonly names: Set<string>;
  /** The opset that a node was written for, where it is not the model's. */
  readonly opsets: ReadonlyMap<NodeProto, number>;
}

/** A graph under construction: what a name means here. */
interface Scope {
  readonly graph: Graph;
  readonly values: Map<string, Value>;
  readonly defined: ReadonlySet<string>;
  readonly infos: ReadonlyMap<string, ValueInfoProto>;
  readonly outer: Scope | null;
}

/** The graph in a message, with the graphs inside it. */
export const graphFromProto = (proto: GraphProto, context: ModelContext): Graph => buildGraph(proto, context, null);

/** Every name that a graph and the graphs inside it define or mention. */
export function allNames(graph: GraphProto, into = new Set<string>()): Set<string> {
  for (const info of [...(graph.input ?? []), ...(graph.output ?? []), ...(graph.valueInfo ?? [])]) into.add(info.name ?? '');
  for (const name of initializerNames(graph)) into.add(name);
  for (const node of graph.node ?? []) {
    for (const name of node.input ?? []) into.add(name);
    for (const name of node.output ?? []) into.add(name);
    for (const body of bodiesOf(node)) allNames(body, into);
  }
  return into;
}

function buildGraph(proto: GraphProto, context: ModelContext, outer: Scope | null): Graph {
  const defined = definedNames(proto, context.file);
  const infos = new Map([...(proto.valueInfo ?? []), ...(proto.output ?? [])].map((info) => [info.name ?? '', info]));
  const scope: Scope = { graph: new Graph(proto.name ?? '', outer?.graph ?? null), values: new Map(), defined, infos, outer };
  addInputs(proto, scope, context);
  addInitializers(proto, scope, context);
  const place = (node: NodeProto): Location => ({ kind: 'onnx', file: context.file, node: node.name || node.output?.[0] || '' });
  for (const node of sortedNodes(proto.node ?? [], place)) addNode(node, scope, context, place(node));
  const outputs = addOutputs(proto, scope, context);
  const unplaced = carryInfos(proto, scope);
  const rest = without(proto, 'node', 'name', 'initializer', 'sparseInitializer', 'input', 'output', 'valueInfo');
  scope.graph.carried = { graph: { ...rest, ...(unplaced.length > 0 ? { valueInfo: unplaced } : {}) }, outputs } satisfies GraphCarried;
  return scope.graph;
}

function addInputs(proto: GraphProto, scope: Scope, context: ModelContext): void {
  const withDefault = new Set(initializerNames(proto));
  for (const info of proto.input ?? []) {
    const name = info.name ?? '';
    if (withDefault.has(name) && context.initializersAreInputs) continue;
    const value = scope.graph.addInput(ownName(name, scope, context), typeFromProto(info.type));
    scope.values.set(name, value);
    carryIf(value, 'input', without(info, 'name'));
  }
}

function addInitializers(proto: GraphProto, scope: Scope, context: ModelContext): void {
  const at = (node: string | undefined): Location => ({ kind: 'onnx', file: context.file, node: node ?? '' });
  for (const tensor of proto.initializer ?? []) {
    const name = tensor.name ?? '';
    const data = tensorFromProto(tensor, context.sources, at(name));
    const input = scope.values.get(name);
    if (input) carry(input, { initial: data });
    else scope.values.set(name, scope.graph.addConstant(constantName(name, scope, context), data));
    carryIf(scope.values.get(name)!, 'initializer', tensorDetails(tensor));
  }
  for (const tensor of proto.sparseInitializer ?? []) {
    const name = tensor.values?.name ?? '';
    const parts = sparseFromProto(tensor, context.sources, at(name));
    const input = scope.values.get(name);
    if (input) carry(input, { initial: parts.dense });
    else {
      const value = scope.graph.addConstant(ownName(name, scope, context), parts.dense);
      scope.values.set(name, value);
      carry(value, { sparse: parts });
    }
  }
}

function addNode(proto: NodeProto, scope: Scope, context: ModelContext, at: Location): void {
  const constant = constantOf(proto, { sources: context.sources, at });
  if (constant) {
    const name = proto.output![0]!;
    scope.values.set(name, scope.graph.addConstant(constantName(name, scope, context), constant));
    return;
  }
  const details = new Map<string, Partial<AttributeProto>>();
  const attributes = readAttributes(proto, scope, context, at, details);
  const domain = isDefaultDomain(proto.domain) ? '' : proto.domain!;
  const opType = domain === qcDomain ? kernelNamed(proto.opType ?? '') : (proto.opType ?? '');
  const results = proto.output ?? [];
  const node = new Node({
    op: domain === '' ? opType : `${domain}.${opType}`,
    name: proto.name ?? '',
    loc: at,
    attributes,
    inputs: (proto.input ?? []).map((name) => (name === '' ? null : resolve(name, scope, at))),
    results: results.map((name, i) => result(name, proto.output?.find((n) => n !== '') ?? opType, i, scope, context)),
  });
  const rest = without(proto, 'input', 'output', 'name', 'opType', 'domain', 'attribute');
  const spelling = opType.includes('.') ? { domain, opType } : null;
  const opset = context.opsets.get(proto);
  if (rest || spelling || details.size > 0 || opset !== undefined) {
    node.carried = {
      ...(opset === undefined ? {} : { opset }),
      ...(rest ? { proto: rest } : {}),
      ...(spelling ? { spelling } : {}),
      ...(details.size > 0 ? { attributes: details } : {}),
    } satisfies NodeCarried;
  }
  scope.graph.append(node);
  results.forEach((name, i) => {
    if (name === '') carry(node.outputs[i]!, { omitted: true });
    else scope.values.set(name, node.outputs[i]!);
  });
}

function readAttributes(
  proto: NodeProto,
  scope: Scope,
  context: ModelContext,
  at: Location,
  details: Map<string, Partial<AttributeProto>>,
): Attributes {
  const seen = new Set<string>();
  const read = (proto.attribute ?? []).map((attribute) => {
    const name = attribute.name ?? '';
    if (seen.has(name)) fail('QC4105', `attribute ${name} is given twice`, at);
    seen.add(name);
    const value = attributeFromProto(attribute, { sources: context.sources, at, body: (g) => buildGraph(g, context, scope) });
    const more = value.kind === 'opaque' ? null : attributeDetails(attribute);
    if (more) details.set(name, more);
    return [name, value] as const;
  });
  return Object.fromEntries(read);
}

function result(name: string, hint: string, index: number, scope: Scope, context: ModelContext): ResultInit {
  if (name === '') return { name: newName(`${hint}_omitted_${index}`, context), type: null };
  return { name: ownName(name, scope, context), type: typeFromProto(scope.infos.get(name)?.type) };
}

/** Adds the outputs, and gives what the model declares of them. */
function addOutputs(proto: GraphProto, scope: Scope, context: ModelContext): ReadonlyMap<string, ValueInfoProto> {
  const declared = new Map<string, ValueInfoProto>();
  for (const info of proto.output ?? []) {
    const name = info.name ?? '';
    const value =
      scope.values.get(name) ?? copyOfOuter(resolve(name, scope, { kind: 'onnx', file: context.file, node: name }), scope, context);
    scope.graph.addOutput(value);
    scope.graph.setType(value, merged(value.type, typeFromProto(info.type)));
    declared.set(value.name, info);
  }
  return declared;
}

/** A body that gives a value of a graph around it: what ONNX Runtime refuses without an Identity. */
function copyOfOuter(value: Value, { graph }: Scope, context: ModelContext): Value {
  const results = [{ name: newName(value.name, context), type: value.type }];
  return graph.append(new Node({ op: 'Identity', inputs: [value], results })).output;
}

/** The entries of `value_info` whose names mean nothing in this graph. */
function carryInfos(proto: GraphProto, scope: Scope): ValueInfoProto[] {
  const unplaced: ValueInfoProto[] = [];
  for (const info of proto.valueInfo ?? []) {
    const value = scope.values.get(info.name ?? '');
    if (!value) unplaced.push(info);
    else {
      scope.graph.setType(value, merged(value.type, typeFromProto(info.type)));
      carry(value, { info: without(info, 'name') ?? {} });
    }
  }
  return unplaced;
}

const merged = (known: TensorType | null, more: TensorType | null): TensorType | null =>
  known === null ? more : known.shape === null && more?.dtype === known.dtype ? tensorType(known.dtype, more.shape) : known;

function carryIf<K extends 'input' | 'initializer'>(value: Value, key: K, part: ValueCarried[K] | null): void {
  if (part) carry(value, { [key]: part });
}

function resolve(name: string, scope: Scope, at: Location): Value {
  for (let s: Scope | null = scope; s; s = s.outer) {
    const value = s.values.get(name);
    if (value) return value;
  }
  return fail('QC4105', `nothing defines %${name}`, at);
}

/** A name that hides one of a graph around gets a new one: in the IR a name means one value wherever it is seen. */
function ownName(name: string, scope: Scope, context: ModelContext): string {
  for (let s = scope.outer; s; s = s.outer) if (s.defined.has(name)) return newName(name, context);
  return name;
}

/**
 * What an optimizer of ONNX Runtime (seen in 1.30: GatherSliceToSplitFusion) calls constants of its own without looking whether a constant
 * has that name. It refuses what it has written itself, once there is something to fuse again.
 */
const reserved = /^(splits|squeeze_axes)(_token_\d+)?$/;

const constantName = (name: string, scope: Scope, context: ModelContext): string =>
  reserved.test(name) ? newName(name, context) : ownName(name, scope, context);

function newName(hint: string, context: ModelContext): string {
  let name = hint;
  for (let i = 1; context.names.has(name); i++) name = `${hint}_${i}`;
  context.names.add(name);
  return name;
}
