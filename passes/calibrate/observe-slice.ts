import { int, type Attributes } from '../../ir/attributes.ts';
import { Node, type Graph, type Value } from '../../ir/graph.ts';
import { Observer } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { productOf } from '../../ir/shapes/dims.ts';
import { dense, int64s } from '../../ir/tensor.ts';
import { dtypes, tensorType, type TensorType } from '../../ir/types.ts';

/** Which reductions of a site's tokens a slice gives out, each as an output named `key` + suffix. */
export const reductions = { min: ' min', max: ' max', sum: ' sum', tokenMin: ' token min', tokenMax: ' token max' } as const;

/**
 * Adds the reductions of every observer of a slice as outputs, computed by ONNX Runtime: extremes and sum of each channel over
 * the tokens, extremes of each token over the channels. `mask` ([batch, seq], 0 for padding) takes padding out of them all.
 */
export function addReductions(graph: Graph, mask: Value | null): void {
  const keep = mask && new Emitter(graph).maskColumn(mask);
  for (const node of [...graph.nodes]) {
    const observer = viewAs(Observer, node);
    if (observer) addFor(new Emitter(graph), observer, keep && coversTokens(observer.x, mask!) ? keep : null);
  }
}

/** Whether the mask has one element for each token of `v`. */
function coversTokens(v: Value, mask: Value): boolean {
  const [tokens, masked] = [v.type?.shape?.slice(0, -1), mask.type?.shape];
  return !!tokens && !!masked && productOf(tokens) !== null && productOf(tokens) === productOf(masked);
}

function addFor(emit: Emitter, observer: Observer, keep: Value | null): void {
  const channels = observer.x.type?.shape?.at(-1);
  const rows = emit.node('Reshape', [observer.x, emit.vector([-1, typeof channels === 'number' ? channels : -1])], tensorType('f32', [null, channels ?? null]));
  const without = (x: number): Value => (keep ? emit.node('Where', [keep, rows, emit.scalar(x)], rows.type) : rows);
  const reduce = (op: string, from: Value, axis: number, suffix: string) =>
    emit.output(op, [from, emit.vector([axis])], { keepdims: int(0) }, `${observer.key}${suffix}`);
  const [high, low] = [without(Infinity), without(-Infinity)];
  reduce('ReduceMin', high, 0, reductions.min);
  reduce('ReduceMax', low, 0, reductions.max);
  reduce('ReduceSum', without(0), 0, reductions.sum);
  reduce('ReduceMin', high, 1, reductions.tokenMin);
  reduce('ReduceMax', low, 1, reductions.tokenMax);
}

/** Appends nodes to a graph. */
class Emitter {
  readonly #graph: Graph;
  constructor(graph: Graph) {
    this.#graph = graph;
  }
  node(op: string, inputs: readonly (Value | null)[], type: TensorType | null, attributes: Attributes = {}): Value {
    return this.#graph.append(new Node({ op, inputs, attributes, results: [{ name: this.#graph.freshName(op), type }] })).output;
  }
  output(op: string, inputs: readonly Value[], attributes: Attributes, name: string): void {
    const node = new Node({ op, inputs, attributes, results: [{ name, type: tensorType('f32', [null]) }] });
    this.#graph.addOutput(this.#graph.append(node).output);
  }
  vector(values: readonly number[]): Value {
    return this.#graph.addConstant(this.#graph.freshName('axes'), int64s([values.length], values));
  }
  scalar(x: number): Value {
    return this.#graph.addConstant(this.#graph.freshName('fill'), dense([], [x]));
  }
  /** A mask [batch, seq] as bool [tokens, 1]. */
  maskColumn(mask: Value): Value {
    const flags = this.node('Cast', [mask], null, { to: int(dtypes.indexOf('bool') + 1) });
    return this.node('Reshape', [flags, this.vector([-1, 1])], tensorType('bool', [null, 1]));
  }
}
