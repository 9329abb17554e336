import { int, type Attribute, type Attributes } from './attributes.ts';
import type { Builder } from './builder.ts';
import type { Node, Value } from './graph.ts';
import { Shape } from './ops/generated.ts';
import { int64s, type Tensor } from './tensor.ts';
import { sizeOf, tensorType, type TensorType } from './types.ts';

/** Constants with more elements are never compared. */
const smallConstant = 64;

/**
 * Makes nodes as a `Builder` does, but none twice: a node of the same operator with the same operands and attributes that stands in front of
 * the builder's place serves again (value numbering). So rules that each need a mask or positions make one for all layers.
 */
export class SharedBuilder {
  readonly build: Builder;
  constructor(build: Builder) {
    this.build = build;
  }
  /** The first result of an operator of one result. */
  value(op: string, inputs: readonly [Value, ...Value[]], attributes: Attributes = {}, type: TensorType | null = null): Value {
    const alike = [...inputs[0].uses].find(
      ({ node }) => node.op === op && hasOperands(node, inputs) && hasAttributes(node, attributes) && this.#isInFront(node),
    );
    return alike?.node.output ?? this.build.value(op, inputs, attributes, type);
  }
  constant(label: string, tensor: Tensor): Value {
    const alike = [...this.build.graph.constants].find((c) => isSame(c.constant!, tensor));
    return alike ?? this.build.constant(label, tensor);
  }
  /** i64 [n]. */
  ints(label: string, values: readonly number[]): Value {
    return this.constant(label, int64s([values.length], values));
  }
  /** An extent of `x`, i64 [1]; read of an input of the graph where that has the same by name, so that it serves for all layers. */
  extent(x: Value, axis: number): Value {
    const d = x.type?.shape?.at(axis);
    if (typeof d === 'number') return this.ints('extent', [d]);
    const input = typeof d === 'string' ? this.build.graph.inputs.find((v) => v.type?.shape?.includes(d)) : undefined;
    const [source, at] = input ? [input, input.type!.shape!.indexOf(d!)] : [x, axis];
    return this.value(Shape.schema.op, [source], { start: int(at), end: int(at + 1) }, tensorType('i64', [1]));
  }
  #isInFront(node: Node): boolean {
    const { graph, before } = this.build;
    if (node.graph !== graph) return false;
    for (let at = before ? before.previous : graph.last; at; at = at.previous) if (at === node) return true;
    return false;
  }
}

const hasOperands = (node: Node, inputs: readonly Value[]): boolean =>
  node.operands.length === inputs.length && inputs.every((v, i) => node.input(i) === v);

function hasAttributes(node: Node, attributes: Attributes): boolean {
  const entries = Object.entries(attributes);
  return node.attributes.size === entries.length && entries.every(([name, a]) => isEqual(node.attributes.get(name), a));
}

const isEqual = (a: Attribute | undefined, b: Attribute): boolean =>
  a?.kind === b.kind &&
  (b.kind === 'int' || b.kind === 'float' || b.kind === 'string' ? a.value === b.value : String(a.value) === String(b.value));

const isSame = (a: Tensor, b: Tensor): boolean =>
  a.dtype === b.dtype &&
  a.origin.kind === 'memory' &&
  a.shape.join() === b.shape.join() &&
  sizeOf(b.shape) <= smallConstant &&
  b.bytes().every((x, i) => a.bytes()[i] === x);
