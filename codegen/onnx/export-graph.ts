import type { Attribute } from '../../ir/attributes.ts';
import type { Graph, Node, Value } from '../../ir/graph.ts';
import type { Tensor } from '../../ir/tensor.ts';
import type { TensorType } from '../../ir/types.ts';
import { carriedOfGraph, carriedOfNode, carriedOfValue } from './carried.ts';
import { tensorPieces, type ExternalPlace } from './export-tensor.ts';
import { completeAttributes, type LocalFunctions } from './functions.ts';
import type { AttributeProto, NodeProto, TypeProto, ValueInfoProto } from './proto-types.ts';
import { field, type Piece } from './pieces.ts';
import { encodeMessage, int64 } from './proto.ts';
import { attributeTypes as kinds } from './schema.ts';
import { typeFromProto, typeToProto } from './type-protos.ts';

/** Which constants go to the side file, and where. */
export type Placement = (tensor: Tensor) => ExternalPlace | null;

/** What holds for all graphs of a model that is written. */
export interface ExportContext {
  readonly place: Placement;
  /** How a node calls the body that it has in the model. */
  readonly nameOf: LocalFunctions['nameOf'];
}

/** The message of a graph and the graphs inside it; nothing of the constants is read yet. */
export function graphPieces(graph: Graph, context: ExportContext): Piece[] {
  const { place } = context;
  const pieces: Piece[] = [];
  const add = (number: number, content: readonly Piece[]): void => {
    for (const piece of field(number, content)) pieces.push(piece);
  };
  for (const node of graph.nodes) add(1, nodePieces(node, context));
  for (const input of graph.inputs) {
    const { initial, initializer } = carriedOfValue(input);
    if (initial) add(5, tensorPieces(initial, { ...initializer, name: input.name }, place(initial)));
  }
  for (const value of graph.constants) if (!sparseOf(value)) add(5, constantPieces(value, place));
  for (const value of graph.constants) if (sparseOf(value)) add(15, sparsePieces(value));
  pieces.push(encodeMessage('GraphProto', { ...carriedOfGraph(graph).graph, ...describedValues(graph), name: graph.name }));
  return pieces;
}

/** Domain and operator of a node. */
export function spellingOf(node: Node): { readonly domain: string; readonly opType: string } {
  const { spelling } = carriedOfNode(node);
  if (spelling && node.op === (spelling.domain === '' ? spelling.opType : `${spelling.domain}.${spelling.opType}`)) return spelling;
  const dot = node.op.lastIndexOf('.');
  return { domain: node.op.slice(0, Math.max(dot, 0)), opType: node.op.slice(dot + 1) };
}

const constantPieces = (value: Value, place: Placement): Piece[] => {
  const tensor = value.constant!;
  return tensorPieces(tensor, { ...carriedOfValue(value).initializer, name: value.name }, place(tensor));
};

const sparseOf = (value: Value): boolean => {
  const { sparse } = carriedOfValue(value);
  return sparse !== undefined && sparse.dense === value.constant;
};

function sparsePieces(value: Value): Piece[] {
  const { values, indices, dense, details } = carriedOfValue(value).sparse!;
  return [
    ...field(1, tensorPieces(values, { ...details.values, name: value.name }, null)),
    ...field(2, tensorPieces(indices, details.indices ?? {}, null)),
    encodeMessage('SparseTensorProto', { ...details.rest, dims: dense.shape.map(int64) }),
  ];
}

function describedValues(graph: Graph): { input: ValueInfoProto[]; output: ValueInfoProto[]; valueInfo: ValueInfoProto[] } {
  const outputs = new Set(graph.outputs);
  const valueInfo: ValueInfoProto[] = [];
  const named = new Set<string>();
  const describe = (value: Value): void => {
    named.add(value.name);
    const { info } = carriedOfValue(value);
    if (info && !outputs.has(value) && (value.type ?? info.type)) valueInfo.push(describeValue(value, info));
  };
  for (const value of [...graph.inputs, ...graph.constants]) describe(value);
  for (const node of graph.nodes) for (const value of node.outputs) describe(value);
  for (const info of carriedOfGraph(graph).graph?.valueInfo ?? []) if (!named.has(info.name ?? '')) valueInfo.push(info);
  return {
    input: graph.inputs.map((value) => describePort(value, carriedOfValue(value).input)),
    output: graph.outputs.map((value) => describePort(value, carriedOfGraph(graph).outputs?.get(value.name))),
    valueInfo,
  };
}

/** An input or output as the model declared it, names of extents included, as long as that is the element type that it has. */
function describePort(value: Value, declared: Partial<ValueInfoProto> = {}): ValueInfoProto {
  const type = portType(value.type, declared.type ?? null);
  const { type: _, ...rest } = declared;
  return { ...rest, name: value.name, ...(type ? { type } : {}) };
}

function portType(found: TensorType | null, declared: TypeProto | null): TypeProto | null {
  const said = typeFromProto(declared);
  if (found === null || (said === null && declared !== null)) return declared;
  if (said?.dtype !== found.dtype) return typeToProto({ dtype: found.dtype, shape: said?.shape ?? found.shape });
  return said.shape === null && found.shape !== null ? typeToProto(found) : declared;
}

function describeValue(value: Value, carried: Partial<ValueInfoProto> = {}): ValueInfoProto {
  const type = typeOf(value, carried.type ?? null);
  const { type: _, ...rest } = carried;
  return { ...rest, name: value.name, ...(type ? { type } : {}) };
}

/** The carried message as long as it says what the value is: it may hold more than the IR does. */
function typeOf(value: Value, carried: TypeProto | null): TypeProto | null {
  const said = typeFromProto(carried);
  if (value.type === null) return said === null ? carried : null;
  return said && JSON.stringify(said) === JSON.stringify(value.type) ? carried : typeToProto(value.type);
}

function nodePieces(node: Node, context: ExportContext): Piece[] {
  const { proto, attributes: details } = carriedOfNode(node);
  const { domain, opType } = spellingOf(node);
  const call = context.nameOf(node);
  const head: NodeProto = {
    ...proto,
    input: operandNames(node),
    output: node.outputs.map((value) => (isOmitted(value) ? '' : value.name)),
    opType: call.opType === '' ? opType : call.opType,
    ...(node.name === '' ? {} : { name: node.name }),
    ...(domain === '' ? {} : { domain }),
    ...(call.overload === '' ? {} : { overload: call.overload }),
  };
  const pieces: Piece[] = [encodeMessage('NodeProto', head)];
  for (const [name, attribute] of completeAttributes(node))
    for (const piece of field(5, attributePieces(name, attribute, details?.get(name) ?? {}, context))) pieces.push(piece);
  return pieces;
}

/** Empty names at the end mean the same as nothing, and make some optimizers of ONNX Runtime crash. */
function operandNames(node: Node): string[] {
  const last = node.operands.findLastIndex((use) => use.value !== null);
  return node.operands.slice(0, last + 1).map((use) => use.value?.name ?? '');
}

const isOmitted = (value: Value): boolean =>
  carriedOfValue(value).omitted === true && value.uses.size === 0 && !value.producer?.graph?.outputs.includes(value);

function attributePieces(name: string, attribute: Attribute, details: Partial<AttributeProto>, context: ExportContext): Piece[] {
  const { t, ...rest } = details;
  const head = (message: AttributeProto): Uint8Array => encodeMessage('AttributeProto', { ...rest, name, ...message });
  switch (attribute.kind) {
    case 'int':
      return [head({ type: kinds.int, i: int64(attribute.value) })];
    case 'ints':
      return [head({ type: kinds.ints, ints: attribute.value.map(int64) })];
    case 'float':
      return [head({ type: kinds.float, f: attribute.value })];
    case 'floats':
      return [head({ type: kinds.floats, floats: attribute.value })];
    case 'string':
      return [head({ type: kinds.string, s: Buffer.from(attribute.value, 'utf8') })];
    case 'strings':
      return [head({ type: kinds.strings, strings: attribute.value.map((s) => Buffer.from(s, 'utf8')) })];
    case 'tensor':
      return [head({ type: kinds.tensor }), ...field(5, tensorPieces(attribute.value, t ?? {}, null))];
    case 'graph':
      return [head({ type: kinds.graph }), ...field(6, graphPieces(attribute.value, context))];
    case 'graphs':
      return [head({ type: kinds.graphs }), ...attribute.value.flatMap((g) => field(11, graphPieces(g, context)))];
    case 'opaque':
      return [attribute.value];
  }
}
