import { int } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { encodeFloats, floats, lazy, scalar, type Tensor } from '../../../ir/tensor.ts';
import { tensorType } from '../../../ir/types.ts';
import { largestHalf, type Precision } from './precision.ts';

export type Float = 'f32' | 'f16';

/** How a Cast spells an element type. */
const codes: Readonly<Record<Float, number>> = { f32: 1, f16: 10 };

/** Gives the values of a graph in the other float type, each made once: constants anew, what follows from them anew, the rest by a Cast. */
export class Counterparts {
  readonly #graph: Graph;
  readonly #precision: (v: Value) => Precision | null;
  readonly #counterparts = new Map<Value, Value>();
  constructor(graph: Graph, precision: (v: Value) => Precision | null) {
    this.#graph = graph;
    this.#precision = precision;
  }

  /** `v` in this element type. */
  as(v: Value, dtype: Float): Value {
    if (v.type?.dtype === dtype) return v;
    const known = this.#counterparts.get(v);
    if (known) return known;
    const precision = this.#precision(v);
    if (v.constant) this.set(v, this.#graph.addConstant(this.#fresh(v, dtype), recoded(v.constant, dtype)));
    else if (precision?.kind === 'constant' && v.producer) this.#copy(v.producer, dtype);
    else this.set(v, this.#cast(v, dtype, v.producer === null || precision?.rangeFault === 'overflow'));
    return this.#counterparts.get(v)!;
  }

  /** `counterpart` is `v` in the other float type. */
  set(v: Value, counterpart: Value): void {
    this.#counterparts.set(v, counterpart);
  }

  /** Gives counterparts the names of the constants that nobody read any more, once those are erased. */
  tidy(): void {
    for (const [v, counterpart] of this.#counterparts)
      if (v.constant && this.#graph.constants.has(counterpart) && !this.#graph.isNameTaken(v.name)) this.#graph.rename(counterpart, v.name);
  }

  #copy(node: Node, dtype: Float): void {
    const made = Builder.behind(this.#graph, node.output).insert({
      op: node.op,
      inputs: node.operands.map(({ value }) => value && (this.#precision(value) ? this.as(value, dtype) : value)),
      attributes: Object.fromEntries(node.attributes),
      results: node.outputs.map((o) => ({
        name: this.#fresh(o, dtype),
        type: o.type && this.#precision(o) ? tensorType(dtype, o.type.shape) : o.type,
      })),
    });
    node.outputs.forEach((o, i) => this.set(o, made.outputs[i]!));
  }

  /** Of what nobody knows, or knows to be beyond f16, the nearest that f16 has. */
  #cast(v: Value, dtype: Float, bounded: boolean): Value {
    const source = dtype === 'f16' && bounded ? this.#behind(v, v, 'Clip', this.#bounds(v), 'f32', 'bounded') : v;
    return this.#behind(v, source, 'Cast', [], dtype, dtype);
  }

  #bounds(v: Value): readonly Value[] {
    return [-largestHalf, largestHalf].map((x) => this.#graph.addConstant(this.#graph.freshName(`${v.name}.bound`), scalar(x)));
  }

  /** A node that reads `x`, behind it; named after `v`. */
  #behind(v: Value, x: Value, op: 'Cast' | 'Clip', more: readonly Value[], dtype: Float, suffix: string): Value {
    const attributes = op === 'Cast' ? { to: int(codes[dtype]) } : {};
    const type = tensorType(dtype, v.type?.shape ?? null);
    return Builder.behind(this.#graph, x, v.name).value(op, [x, ...more], attributes, type, suffix);
  }

  #fresh(v: Value, dtype: Float): string {
    return this.#graph.freshName(v.constant ? v.name : `${v.name}.${dtype}`);
  }
}

/** The same numbers in another float type; in f16 at most what that holds. */
const recoded = (t: Tensor, dtype: Float): Tensor =>
  lazy(dtype, t.shape, () => encodeFloats(dtype, dtype === 'f16' ? floats(t).map(bounded) : floats(t)));

const bounded = (x: number): number => (Number.isFinite(x) ? Math.min(Math.max(x, -largestHalf), largestHalf) : x);
