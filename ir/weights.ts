import { Builder } from './builder.ts';
import { apply, shiftAt, type ChannelTransform } from './channel.ts';
import { fail } from './diagnostics.ts';
import { foldColumns, foldRows } from './folds.ts';
import type { Graph, Value } from './graph.ts';
import { Add } from './ops/generated.ts';
import { viewAs } from './ops/view.ts';
import { isChannelVector } from './constants.ts';
import { isOutput } from './pattern.ts';
import { derived, floats, type Tensor } from './tensor.ts';

/** W' with T(x) W' = T(x W) for the linear part of T: columns move and scale. QC1103 if W has another number of columns. */
export const movedColumns = (t: ChannelTransform, w: Tensor): Tensor => foldColumns(t, fitting(t, w, 1));

/** W' with x W' = L(x) W for the linear part L of `t`: row perm[i] of W' is scale[i] times row i of W. QC1103 if W has other than that many rows. */
export const movedRows = (t: ChannelTransform, w: Tensor): Tensor => foldRows(t, fitting(t, w, 0));

function fitting(t: ChannelTransform, w: Tensor, axis: 0 | 1): Tensor {
  return w.shape[axis] === t.size ? w : fail('QC1103', `a transform of ${t.size} channels meets a weight of [${w.shape.join(', ')}]`);
}

/** shift W: what the shift of `t` adds to every row of a product with W. */
export const shiftProduct = (t: ChannelTransform, w: Tensor): Tensor =>
  derived(w, [w.shape[1]!], () => {
    const [rows = 0, columns = 0] = w.shape;
    const from = floats(w);
    const sum = new Float64Array(columns);
    for (let i = 0; i < rows; i++) {
      const [shift, start] = [shiftAt(t, i), i * columns];
      if (shift !== 0) for (let c = 0; c < columns; c++) sum[c]! += shift * from[start + c]!;
    }
    return Float32Array.from(sum);
  });

/** T(v) of one value for each channel. */
export const movedVector = (t: ChannelTransform, v: Tensor): Tensor => derived(v, v.shape, () => apply(t, floats(v), v.shape, 0));

export const constantLike = (graph: Graph, like: Value, tensor: Tensor): Value => graph.addConstant(graph.freshName(like.name), tensor);

/** The Add of one constant for each of `size` channels that alone reads `value`; null if there is none. */
export function biasBehind(value: Value, size: number): Add | null {
  const add = isOutput(value) ? null : viewAs(Add, value.soleUse?.node ?? null);
  return add && add.a === value && isChannelVector(add.b, size) ? add : null;
}

/** Adds one constant for each channel to the result of a node: into the bias that follows it, or as a new Add behind it. */
export function addBias(value: Value, delta: Tensor, name: string): void {
  const producer = value.producer!;
  // The node may lie in the body of an If: its bias belongs there too.
  const graph = producer.graph!;
  const add = biasBehind(value, delta.shape[0]!);
  if (add) {
    const bias = add.b;
    const old = bias.constant!;
    const sum = derived(old, old.shape, () => {
      const d = floats(delta);
      return floats(old).map((x, i) => x + d[i]!);
    });
    return graph.setInput(add.node, 1, constantLike(graph, bias, sum));
  }
  const build = Builder.behind(graph, value);
  const made = build.make(Add, { a: value, b: build.constant(name, delta) }, { like: value });
  graph.replaceUses(value, made.c, made.node);
}
