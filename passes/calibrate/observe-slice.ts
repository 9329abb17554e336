import { int, type Attributes } from '../../ir/attributes.ts';
import { Node, type Graph, type Value } from '../../ir/graph.ts';
import { Observer } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { dense, int64s } from '../../ir/tensor.ts';
import { dtypes, tensorType, type DType, type TensorType } from '../../ir/types.ts';

/** Which reductions of a site's tokens a slice gives out, each as an output named `key` + suffix. */
export const reductions = {
  min: ' min',
  max: ' max',
  sum: ' sum',
  tokenMin: ' token min',
  tokenMax: ' token max',
  shape: ' shape',
} as const;

/** Adds the shape of what every observer sees as an output. */
export function addShapes(graph: Graph): void {
  const emit = new Emitter(graph);
  for (const observer of observersOf(graph)) emit.output('Shape', [observer.x], {}, `${observer.key}${reductions.shape}`, 'i64');
}

const observersOf = (graph: Graph): readonly Observer[] => [...graph.nodes].flatMap((n) => viewAs(Observer, n) ?? []);

/** What is seen at a site: how many channels, and whether the mask has one element for each token. */
export interface Seen {
  readonly channels: number;
  readonly masked: boolean;
}

/**
 * Adds the reductions of every observer of a slice as outputs, computed by ONNX Runtime: extremes and sum of each channel over
 * the tokens, extremes of each token over the channels. `mask` ([batch, seq], 0 for padding) takes padding out of them all.
 */
export function addReductions(graph: Graph, seen: ReadonlyMap<string, Seen>, mask: Value | null): void {
  const emit = new Emitter(graph);
  const keep = mask && emit.maskColumn(mask);
  for (const observer of observersOf(graph)) {
    const at = seen.get(observer.key);
    if (at) addFor(emit, observer, at.channels, at.masked ? keep : null);
  }
}

function addFor(emit: Emitter, observer: Observer, channels: number, keep: Value | null): void {
  const rows = emit.node('Reshape', [observer.x, emit.vector([-1, channels])], tensorType('f32', [null, channels]));
  const without = (x: number): Value => (keep ? emit.node('Where', [keep, rows, emit.scalar(x)], rows.type) : rows);
  const reduce = (op: string, from: Value, axis: number, suffix: string) =>
    emit.output(op, [from, emit.vector([axis])], { keepdims: int(0) }, `${observer.key}${suffix}`, 'f32');
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
  output(op: string, inputs: readonly Value[], attributes: Attributes, name: string, dtype: DType): void {
    const node = new Node({ op, inputs, attributes, results: [{ name, type: tensorType(dtype, [null]) }] });
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
