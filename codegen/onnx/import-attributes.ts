import { isUtf8 } from 'node:buffer';
import type { Attribute } from '../../ir/attributes.ts';
import { fail, type Location } from '../../ir/diagnostics.ts';
import type { Graph } from '../../ir/graph.ts';
import { int64s, scalar, dense, type Tensor } from '../../ir/tensor.ts';
import { tensorDetails, tensorFromProto, type TensorSources } from './import-tensor.ts';
import type { AttributeProto, GraphProto, NodeProto } from './proto-types.ts';
import { encodeMessage, toBigInt, without } from './proto.ts';
import { attributeTypes as kinds } from './schema.ts';

/** What an attribute needs from its surroundings. */
export interface AttributeContext {
  readonly sources: TensorSources;
  readonly at: Location;
  body(proto: GraphProto): Graph;
}

/** The IR's attribute for a message; what the IR has no words for becomes its bytes. */
export function attributeFromProto(proto: AttributeProto, context: AttributeContext): Attribute {
  if (proto.refAttrName) return opaque(proto, context);
  switch (kindOf(proto)) {
    case kinds.float:
      return { kind: 'float', value: proto.f ?? 0 };
    case kinds.int:
      return { kind: 'int', value: toBigInt(proto.i ?? 0) };
    case kinds.floats:
      return { kind: 'floats', value: [...(proto.floats ?? [])] };
    case kinds.ints:
      return { kind: 'ints', value: (proto.ints ?? []).map(toBigInt) };
    case kinds.string: {
      // A string that is not there reads as an empty array, which is no array of bytes.
      const text = proto.s?.length ? proto.s : new Uint8Array(0);
      return isUtf8(text) ? { kind: 'string', value: decoded(text) } : opaque(proto, context);
    }
    case kinds.strings: {
      const texts = proto.strings ?? [];
      return texts.every((t) => isUtf8(t)) ? { kind: 'strings', value: texts.map(decoded) } : opaque(proto, context);
    }
    case kinds.tensor:
      return proto.t ? { kind: 'tensor', value: tensorFromProto(proto.t, context.sources, context.at) } : opaque(proto, context);
    case kinds.graph:
      return proto.g ? { kind: 'graph', value: context.body(proto.g) } : opaque(proto, context);
    case kinds.graphs:
      return { kind: 'graphs', value: (proto.graphs ?? []).map((g) => context.body(g)) };
    default:
      return opaque(proto, context);
  }
}

/** What a message says of an attribute beside its value; null when nothing. */
export function attributeDetails(proto: AttributeProto): Partial<AttributeProto> | null {
  const details = without(proto, 'name', 'type', 'f', 'i', 's', 't', 'g', 'floats', 'ints', 'strings', 'graphs', 'refAttrName');
  const t = proto.t ? tensorDetails(proto.t, []) : null;
  return t ? { ...details, t } : details;
}

/** The value of a `Constant` node when the IR can hold it as a constant of the graph; otherwise null and the node stays. */
export function constantOf(node: NodeProto, context: Pick<AttributeContext, 'sources' | 'at'>): Tensor | null {
  const [attribute, second] = node.attribute ?? [];
  if (node.opType !== 'Constant' || !isDefaultDomain(node.domain) || !attribute || second || node.output?.length !== 1 || !node.output[0])
    return null;
  if (attribute.refAttrName || (node.input ?? []).length > 0) return null;
  switch (attribute.name) {
    case 'value':
      return attribute.t ? tensorFromProto(attribute.t, context.sources, context.at) : null;
    case 'value_float':
      return scalar(attribute.f ?? 0);
    case 'value_floats':
      return dense([attribute.floats?.length ?? 0], attribute.floats ?? []);
    case 'value_int':
      return int64s([], [toBigInt(attribute.i ?? 0)]);
    case 'value_ints':
      return int64s([attribute.ints?.length ?? 0], (attribute.ints ?? []).map(toBigInt));
    default:
      return null;
  }
}

export const isDefaultDomain = (domain: string | undefined): boolean => !domain || domain === 'ai.onnx';

const decoded = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');

/** Old writers left out the type; the field that is there tells it. */
function kindOf(proto: AttributeProto): number {
  if (proto.type) return proto.type;
  const has = (field: keyof AttributeProto): boolean => Object.hasOwn(proto, field);
  if (has('f')) return kinds.float;
  if (has('i')) return kinds.int;
  if (has('s')) return kinds.string;
  if (proto.t) return kinds.tensor;
  if (proto.g) return kinds.graph;
  if (proto.floats?.length) return kinds.floats;
  if (proto.ints?.length) return kinds.ints;
  if (proto.strings?.length) return kinds.strings;
  return proto.graphs?.length ? kinds.graphs : 0;
}

function opaque(proto: AttributeProto, context: AttributeContext): Attribute {
  // The reader of files cuts the data of `t`, `g` and `graphs` short, so such bytes would not be whole.
  if (proto.t || proto.g || proto.graphs?.length)
    fail('QC4106', `attribute ${proto.name} has a tensor or graph that does not belong to its type ${proto.type}`, context.at);
  return { kind: 'opaque', value: encodeMessage('AttributeProto', proto) };
}
