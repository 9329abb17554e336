import { createHash } from 'node:crypto';
import type { Attribute } from '../../../ir/attributes.ts';
import type { Builder } from '../../../ir/builder.ts';
import type { Node, Value } from '../../../ir/graph.ts';
import { traitsOf } from '../../../ir/ops/traits.ts';
import type { Tensor } from '../../../ir/tensor.ts';
import { sizeOf } from '../../../ir/types.ts';

/** Makes copies of nodes, each once: the same operator with the same attributes on the same operands is the same node. */
export class Once {
  readonly #build: Builder;
  readonly #nodes = new Map<string, Node>();
  readonly #constants = new Map<string, Value>();
  readonly #names = new Map<string, number>();
  readonly #numbers = new Map<object, number>();
  constructor(build: Builder) {
    this.#build = build;
  }
  node(like: Node, inputs: readonly (Value | null)[]): Node {
    const key = [this.kindOf(like), ...inputs.map((v) => (v ? this.#number(v) : ''))].join();
    const found = this.#nodes.get(key);
    if (found) return found;
    const { graph } = this.#build;
    const results = like.outputs.map(({ name }, i) => ({ name: graph.freshName(i === 0 ? name : `${name}.${i}`), type: null }));
    const made = this.#build.insert({
      op: like.op,
      inputs,
      attributes: Object.fromEntries(like.attributes),
      name: this.#name(like),
      results,
    });
    this.#nodes.set(key, made);
    return made;
  }
  /** A constant of a body as one of the graph around it. */
  constant(v: Value): Value {
    const key = this.constantKey(v);
    const made = this.#constants.get(key) ?? this.#build.graph.addConstant(this.#build.graph.freshName(v.name), v.constant!);
    this.#constants.set(key, made);
    return made;
  }
  /** Equal for constants of the same type and elements, unless they are large. */
  constantKey(v: Value): string {
    return this.#tensorKey(v.constant!);
  }
  /** Equal for nodes that give the same on the same operands. */
  kindOf(node: Node): string {
    const attributes = [...node.attributes].map(([name, a]) => `${name}=${this.#attributeKey(a)}`).sort();
    return [node.op, ...attributes, ...(traitsOf(node.op).random ? [this.#number(node)] : [])].join(';');
  }
  /** Names of nodes differ within a model, and both branches have those of the same exporter. */
  #name({ name }: Node): string {
    const times = this.#names.get(name) ?? 0;
    this.#names.set(name, times + 1);
    return name === '' || times === 0 ? name : `${name}_${times}`;
  }
  #attributeKey(a: Attribute): string {
    if (a.kind === 'tensor') return this.#tensorKey(a.value);
    return JSON.stringify(a.value, (_, x: unknown) => (typeof x === 'bigint' || typeof x === 'number' ? exact(x) : x));
  }
  #tensorKey(t: Tensor): string {
    const type = `${t.dtype}[${t.shape.join()}]`;
    return sizeOf(t.shape) > largest ? `${type}#${this.#number(t)}` : type + createHash('sha256').update(t.bytes()).digest('hex');
  }
  #number(x: object): number {
    if (!this.#numbers.has(x)) this.#numbers.set(x, this.#numbers.size);
    return this.#numbers.get(x)!;
  }
}

/** Elements of a constant whose bytes are compared, at most. */
const largest = 65536;

/** JSON has no infinity, and -0 is 0 there. */
const exact = (x: bigint | number): string => (Object.is(x, -0) ? '-0' : String(x));
