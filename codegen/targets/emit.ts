import type { Attributes } from '../../ir/attributes.ts';
import type { Graph, Node, Value } from '../../ir/graph.ts';
import { createNode } from '../../ir/ops/view.ts';
import type { Tensor } from '../../ir/tensor.ts';
import type { TensorType } from '../../ir/types.ts';

/** Puts nodes and constants in front of a node that is being lowered; names come from the value that it makes. */
export class Emit {
  readonly graph: Graph;
  readonly before: Node;
  readonly #stem: string;
  constructor(graph: Graph, before: Node, stem = before.output.name) {
    this.graph = graph;
    this.before = before;
    this.#stem = stem;
  }
  node(
    op: string,
    inputs: readonly (Value | null)[],
    attributes: Attributes = {},
    type: TensorType | null = null,
    suffix: string = op,
  ): Value {
    const made = createNode(this, op, inputs, { attributes, type });
    this.graph.rename(made.output, this.graph.freshName(`${this.#stem}.${suffix}`));
    return made.output;
  }
  constant(suffix: string, tensor: Tensor): Value {
    return this.graph.addConstant(this.graph.freshName(`${this.#stem}.${suffix}`), tensor);
  }
}
