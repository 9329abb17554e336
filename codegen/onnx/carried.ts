import type { Graph, Node, Value } from '../../ir/graph.ts';
import type { Tensor } from '../../ir/tensor.ts';
import type { AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, ValueInfoProto } from './proto-types.ts';

/** What the importer keeps of the model and of a graph beside its values and nodes. */
export interface GraphCarried {
  /** Of the root graph only. */
  readonly model?: Partial<ModelProto>;
  readonly graph?: Partial<GraphProto>;
  /** What the model declares of its outputs, by name: passes may know less or more of the values, callers rely on this. */
  readonly outputs?: ReadonlyMap<string, ValueInfoProto>;
}

/** What the importer keeps of a node: documentation, the spelling of its operator, and details of its attributes. */
export interface NodeCarried {
  readonly proto?: Partial<NodeProto>;
  /** Only when the domain and the operator cannot be told apart in `Node.op`. */
  readonly spelling?: { readonly domain: string; readonly opType: string };
  /** The version of the default operator set that it was written for, where it is not the model's; until it is upgraded. */
  readonly opset?: number;
  /** By attribute: the message without its value. */
  readonly attributes?: ReadonlyMap<string, Partial<AttributeProto>>;
}

/** What the importer keeps of a value; each part is the message without what the IR holds itself. */
export interface ValueCarried {
  readonly input?: Partial<ValueInfoProto>;
  readonly info?: Partial<ValueInfoProto>;
  readonly initializer?: Partial<TensorProto>;
  /** The default of a graph input that callers may override. */
  readonly initial?: Tensor;
  /** The constant was sparse, and is written so again as long as it is still this tensor. */
  readonly sparse?: SparseParts;
  /** A result without a name in the model: its name is ours. */
  readonly omitted?: true;
}

export interface SparseParts {
  readonly dense: Tensor;
  readonly values: Tensor;
  readonly indices: Tensor;
  /** What the three messages say beside that. */
  readonly details: {
    readonly values: Partial<TensorProto> | null;
    readonly indices: Partial<TensorProto> | null;
    readonly rest: Partial<SparseTensorProto> | null;
  };
}

// `carried` is unknown to the IR on purpose; only import and export touch it.
export const carriedOfGraph = (graph: Graph): GraphCarried => (graph.carried ?? {}) as GraphCarried;
export const carriedOfNode = (node: Node): NodeCarried => (node.carried ?? {}) as NodeCarried;
export const carriedOfValue = (value: Value): ValueCarried => (value.carried ?? {}) as ValueCarried;

/** Adds to what a value carries. */
export function carry(value: Value, more: ValueCarried): void {
  value.carried = { ...carriedOfValue(value), ...more };
}
