import { fail, unknownLocation, type Location } from './diagnostics.ts';
import { Node, type Graph, type NodeInit, type Value } from './graph.ts';
import type { Attributes } from './attributes.ts';
import type { OpClass } from './ops/view.ts';
import { dense, int64s, scalar, type Tensor } from './tensor.ts';
import type { TensorType } from './types.ts';

type Formals<C extends OpClass> = C['schema']['inputs'][number];

/** The operands of an operator by the names of its schema: optional ones may be missing, variadic ones are lists. */
export type Operands<C extends OpClass> = {
  readonly [F in Formals<C> as F['option'] extends 'single' ? F['name'] : never]: Value;
} & {
  readonly [F in Formals<C> as F['option'] extends 'optional' ? F['name'] : never]?: Value | null;
} & {
  readonly [F in Formals<C> as F['option'] extends 'variadic' ? F['name'] : never]: readonly Value[];
};

export interface Details {
  readonly attributes?: Attributes;
  /** The result is named and typed like this value, which it often replaces. */
  readonly like?: Value;
  /** The type of the result, where it is not that of `like`. */
  readonly type?: TensorType | null;
  /** The name of the node, which the ledger and ONNX know it by; none by default. */
  readonly name?: string;
}

/**
 * Makes nodes at one place of a graph, one behind the other, and constants for them. Names are always fresh; they begin with `stem`, if there is
 * one, unless a result is `like` another value.
 */
export class Builder {
  readonly graph: Graph;
  /** New nodes go in front of this one; null: at the end of the graph. */
  readonly before: Node | null;
  readonly #loc: Location;
  readonly #stem: string;
  private constructor(graph: Graph, before: Node | null, loc: Location, stem: string) {
    this.graph = graph;
    this.before = before;
    this.#loc = loc;
    this.#stem = stem;
  }
  /** In front of a node, in its graph. QC1001 if it is in none. */
  static before(node: Node, stem = ''): Builder {
    return new Builder(node.graph ?? fail('QC1001', `${node.op} is in no graph`, node.loc), node, node.loc, stem);
  }
  /** Behind what makes `value`, in the graph of that node; in front of all nodes of `graph` where nothing makes it. */
  static behind(graph: Graph, value: Value, stem = ''): Builder {
    const { producer } = value;
    if (producer?.graph) return new Builder(producer.graph, producer.next, producer.loc, stem);
    return new Builder(graph, graph.first, unknownLocation, stem);
  }
  static atEnd(graph: Graph, stem = ''): Builder {
    return new Builder(graph, null, unknownLocation, stem);
  }

  /** A node of class `cls`, seen through that class: `make(MatMul, { a: x, b: w }, { like: y }).y`. */
  make<C extends OpClass>(cls: C, operands: Operands<C>, details: Details = {}): InstanceType<C> {
    return new cls(this.node(cls.schema.op, inOrder(cls, operands), details)) as InstanceType<C>;
  }
  /** As `make`, for an operator that is known by its word; operands stand in the order of its schema. */
  node(op: string, inputs: readonly (Value | null)[], { attributes = {}, like, type = like?.type ?? null, name = '' }: Details = {}): Node {
    return this.insert({
      op,
      inputs,
      attributes,
      name,
      results: [{ name: like ? this.graph.freshName(like.name) : this.#fresh(op), type }],
    });
  }
  /** The result of an operator: `value('Cast', [x], { to: int(1) }, tensorType('f32', null))`. `label` is its part of the name. */
  value(op: string, inputs: readonly (Value | null)[], attributes: Attributes = {}, type: TensorType | null = null, label = op): Value {
    return this.insert({ op, inputs, attributes, results: [{ name: this.#fresh(label), type }] }).output;
  }
  /** Puts a node here whose results are named and typed by the caller. */
  insert(init: NodeInit): Node {
    const node = new Node({ loc: this.#loc, ...init });
    return this.before ? this.graph.insertBefore(this.before, node) : this.graph.append(node);
  }

  constant(label: string, tensor: Tensor): Value {
    return this.graph.addConstant(this.#fresh(label), tensor);
  }
  /** f32 [n]. */
  vector(label: string, data: ArrayLike<number>): Value {
    return this.constant(label, dense([data.length], data));
  }
  /** i64 [n]: axes, extents, sizes. */
  ints(label: string, values: readonly number[]): Value {
    return this.constant(label, int64s([values.length], values));
  }
  /** f32 []. */
  scalar(label: string, x: number): Value {
    return this.constant(label, scalar(x));
  }

  #fresh(label: string): string {
    return this.graph.freshName(this.#stem === '' ? label : `${this.#stem}.${label}`);
  }
}

/** Operands as a node lists them, up to the last one that is mentioned. */
function inOrder(cls: OpClass, operands: Readonly<Record<string, Value | null | undefined | readonly Value[]>>): readonly (Value | null)[] {
  const { inputs } = cls.schema;
  const last = inputs.findLastIndex(({ name }) => name in operands);
  return inputs.slice(0, last + 1).flatMap(({ name }) => operands[name] ?? null);
}
