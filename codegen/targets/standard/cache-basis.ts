import { ints } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import { isIdentity, transformAttributes } from '../../../ir/channel.ts';
import type { Graph, Node } from '../../../ir/graph.ts';
import { CacheBasis, Encode } from '../../../ir/ops/qc.ts';
import { int64s } from '../../../ir/tensor.ts';
import { tensorType, type Dim } from '../../../ir/types.ts';

/** A map on the tokens of a cache as an Encode on [batch, seq, heads * width]; nothing where it is the identity. */
export function lowerCacheBasis(graph: Graph, node: Node): void {
  const { x, y, transform } = new CacheBasis(node);
  const build = Builder.before(node, y.name);
  graph.replace(y, isIdentity(transform) ? x : mapped(build, new CacheBasis(node)));
  graph.erase(node);
}

function mapped(build: Builder, { x, transform }: CacheBasis) {
  const { dtype, shape } = x.type!;
  const [batch, heads, seq, width] = shape as readonly [Dim, number, Dim, number];
  const turn = { perm: ints([0, 2, 1, 3]) };
  const reshape = (label: string, extents: readonly number[]) => build.constant(label, int64s([extents.length], extents));
  const turned = build.value('Transpose', [x], turn, tensorType(dtype, [batch, seq, heads, width]));
  const type = tensorType(dtype, [batch, seq, transform.size]);
  const tokens = build.value('Reshape', [turned, reshape('tokens', [0, 0, transform.size])], {}, type);
  const moved = build.make(Encode, { x: tokens }, { attributes: transformAttributes(transform), like: tokens }).y;
  const apart = build.value('Reshape', [moved, reshape('heads', [0, 0, heads, width])], {}, turned.type);
  return build.value('Transpose', [apart], turn, x.type);
}
