import type { Graph, Node, Value } from '../../../ir/graph.ts';
import type { TensorType } from '../../../ir/types.ts';
import { half, strainOf, type Standing } from './standing.ts';
import { Twins, type Float } from './twins.ts';

/** The float type of a value that may be either; null for all others. */
export const floatOf = (type: TensorType | null): Float | null => (type?.dtype === 'f32' || type?.dtype === 'f16' ? type.dtype : null);

/** What is known while a graph is converted. */
export class Halving {
  readonly graph: Graph;
  readonly twins: Twins;
  /** Weights, norms and biases that f16 does not hold, with who reads them. */
  readonly strained: { readonly value: Value; readonly reader: Node }[] = [];
  readonly #standings = new Map<Value, Standing>();
  /** What was f16 before. */
  readonly #own: ReadonlySet<Value>;
  constructor(graph: Graph) {
    this.graph = graph;
    this.twins = new Twins(graph, (v) => this.standing(v));
    const all = [...graph.inputs, ...graph.constants, ...[...graph.nodes].flatMap((n) => n.outputs)];
    this.#own = new Set(all.filter((v) => v.type?.dtype === 'f16'));
  }

  /** How a value stands; null for what is not f32 or f16. */
  standing(v: Value): Standing | null {
    const known = this.#standings.get(v);
    if (known || floatOf(v.type) === null) return known ?? null;
    const found: Standing = v.constant ? { kind: 'free', strain: strainOf(v.constant) } : half;
    this.#standings.set(v, found);
    return found;
  }

  /** Whether the model itself had this value in f16. */
  isOwn(v: Value): boolean {
    return this.#own.has(v);
  }

  settle(v: Value, standing: Standing): void {
    this.#standings.set(v, standing);
  }
}
