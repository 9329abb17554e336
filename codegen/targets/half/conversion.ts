import type { Graph, Node, Value } from '../../../ir/graph.ts';
import type { TensorType } from '../../../ir/types.ts';
import { half, rangeFaultOf, type Precision } from './precision.ts';
import { Counterparts, type Float } from './counterparts.ts';

/** The float type of a value that may be either; null for all others. */
export const floatOf = (type: TensorType | null): Float | null => (type?.dtype === 'f32' || type?.dtype === 'f16' ? type.dtype : null);

/** What is known while a graph is converted. */
export class Conversion {
  readonly graph: Graph;
  readonly counterparts: Counterparts;
  /** Weights, norms and biases that f16 does not hold, with who reads them. */
  readonly unrepresentable: { readonly value: Value; readonly reader: Node }[] = [];
  readonly #precisions = new Map<Value, Precision>();
  /** What was f16 before. */
  readonly #own: ReadonlySet<Value>;
  constructor(graph: Graph) {
    this.graph = graph;
    this.counterparts = new Counterparts(graph, (v) => this.precision(v));
    const all = [...graph.inputs, ...graph.constants, ...[...graph.nodes].flatMap((n) => n.outputs)];
    this.#own = new Set(all.filter((v) => v.type?.dtype === 'f16'));
  }

  /** How a value stands; null for what is not f32 or f16. */
  precision(v: Value): Precision | null {
    const known = this.#precisions.get(v);
    if (known || floatOf(v.type) === null) return known ?? null;
    const found: Precision = v.constant ? { kind: 'constant', rangeFault: rangeFaultOf(v.constant) } : half;
    this.#precisions.set(v, found);
    return found;
  }

  /** Whether the model itself had this value in f16. */
  isOwn(v: Value): boolean {
    return this.#own.has(v);
  }

  settle(v: Value, precision: Precision): void {
    this.#precisions.set(v, precision);
  }
}
