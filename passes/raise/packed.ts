import { int } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { permutation } from '../../ir/channel.ts';
import { isChannelVector, isMatrix } from '../../ir/constants.ts';
import type { Graph, Node, Value } from '../../ir/graph.ts';
import { Add, MatMul, Reshape, Split } from '../../ir/ops/generated.ts';
import { traitsOf } from '../../ir/ops/traits.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { isOutput } from '../../ir/pattern.ts';
import type { RewriteRule } from '../../ir/rewrite.ts';
import { sameShape } from '../../ir/shapes/dims.ts';
import { sizeOf, tensorType } from '../../ir/types.ts';
import { constantLike, movedColumns, movedVector } from '../../ir/weights.ts';
import { cutsOf, type Cut } from './cuts.ts';

/** x W, or x W + b, that nothing else reads up to the value that is cut. */
interface Projection {
  readonly product: MatMul;
  readonly sum: Add | null;
}

/**
 * A projection whose channels are cut into parts, such as query, key and value, and nothing else: as they are, or taken apart into heads first.
 * It becomes a Split of channels, for which columns of the weight move where the parts were interleaved: heads of BLOOM hold a query, a key and
 * a value each.
 */
export const packedProjection: RewriteRule = {
  name: 'raise-packed-projection',
  apply(node, graph) {
    const apart = viewAs(Reshape, node);
    const whole = apart ? apart.reshaped : (node.outputs[0] ?? null);
    const projected = apart ? apart.data : whole;
    const projection = projected && projectionOf(projected);
    const extents = projection && channelExtents(whole!, projected);
    // Columns move under whatever reads the projection.
    if (!projection || !extents || isOutput(whole!) || (apart && !readByOne(projected))) return 'no-match';
    const cuts = cutsOf(whole!, extents);
    if (!cuts || cuts.length < 2) return 'no-match';
    const order = cuts.flatMap((c) => c.channels);
    if (!isOrder(order, sizeOf(extents))) return 'no-match';
    cut(graph, move(graph, projection, order), cuts);
    return 'applied';
  },
};

function projectionOf(v: Value): Projection | null {
  const sum = viewAs(Add, v.producer);
  const product = viewAs(MatMul, sum ? sum.a.producer : v.producer);
  if (!product || !isMatrix(product.b) || (sum && (!isChannelVector(sum.b, product.b.type?.shape?.[1] as number) || !readByOne(sum.a))))
    return null;
  return { product, sum };
}

const readers = (v: Value): readonly Node[] => [...v.uses].map((use) => use.node).filter((node) => !traitsOf(node.op).readsExtents);
const readByOne = (v: Value): boolean => readers(v).length === 1 && !isOutput(v);

/** The extents behind batch and sequence, which are those of the projection [batch, seq, channels], if they are numbers. */
function channelExtents(v: Value, projected: Value): readonly number[] | null {
  const [tokens, extents] = [v.type?.shape?.slice(0, 2), v.type?.shape?.slice(2) ?? []];
  const [shape, channels] = [projected.type?.shape, projected.type?.shape?.[2]];
  const numbers = extents.every((d) => typeof d === 'number') ? extents : null;
  return shape?.length === 3 && sameShape(tokens, shape.slice(0, 2)) && numbers && sizeOf(numbers) === channels ? numbers : null;
}

const isOrder = (order: readonly number[], size: number): boolean =>
  order.length === size && order.toSorted((a, b) => a - b).every((channel, i) => channel === i);

/** The projection with its channels in another order, on [batch, seq, channels]. */
function move(graph: Graph, { product, sum }: Projection, order: readonly number[]): Value {
  const t = permutation(order);
  if (t.perm) graph.setInput(product.node, 1, constantLike(graph, product.b, movedColumns(t, product.b.constant!)));
  if (t.perm && sum) graph.setInput(sum.node, 1, constantLike(graph, sum.b, movedVector(t, sum.b.constant!)));
  return sum ? sum.c : product.y;
}

/** Parts side by side, each with the axes that its readers expect. */
function cut(graph: Graph, packed: Value, cuts: readonly Cut[]): void {
  const build = Builder.behind(graph, packed);
  const [batch = null, seq = null] = packed.type?.shape ?? [];
  const dtype = packed.type!.dtype;
  const sizes = build.ints(
    'sizes',
    cuts.map((c) => c.channels.length),
  );
  const results = cuts.map((c, i) => ({
    name: graph.freshName(`${packed.name}.${i}`),
    type: tensorType(dtype, [batch, seq, c.channels.length]),
  }));
  const made = build.insert({ op: Split.schema.op, inputs: [packed, sizes], attributes: { axis: int(-1) }, results });
  cuts.forEach(({ value, extents }, i) => {
    const part = made.outputs[i]!;
    if (extents.length === 1) return graph.replace(value, part);
    const shape = build.ints('shape', [0, 0, ...extents]);
    graph.replace(value, build.make(Reshape, { data: part, shape }, { like: value, type: value.type }).reshaped);
  });
}
