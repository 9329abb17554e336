import { int } from '../../../ir/attributes.ts';
import type { Builder } from '../../../ir/builder.ts';
import type { Value } from '../../../ir/graph.ts';
import { Add, Concat, Expand, Range, RotaryEmbedding, Shape, Squeeze } from '../../../ir/ops/generated.ts';
import { RotaryEmbedding as MicrosoftRotaryEmbedding } from '../../../ir/ops/microsoft.ts';
import { refuse, type Refusal } from '../../../ir/pattern.ts';
import { ruleFor, type RewriteRule } from '../../../ir/rewrite.ts';
import { int64s } from '../../../ir/tensor.ts';
import { tensorType } from '../../../ir/types.ts';

/** The same rotation, with its positions written out. */
const rotary = ruleFor('raise-fused-rotary-embedding', MicrosoftRotaryEmbedding, (view, build) => {
  const { node, input: x, cos_cache, sin_cache, output } = view;
  const heads = headsOf(view);
  if (typeof heads !== 'number') return heads;
  if (view.is_packed_batching !== 0) return refuse('its sequences lie one behind the other', x);
  if (view.scale !== 0 && view.scale !== 1) return refuse(`it scales by ${view.scale}`, x);
  const positions = positionsOf(view, build);
  if ('refused' in positions) return positions;
  const dim = view.rotary_embedding_dim;
  build.graph.replace(
    output,
    rotated(build, x, { cos_cache, sin_cache, positions, heads, dim, interleaved: view.interleaved !== 0 }, node.name),
  );
});

/** How heads turn. */
export interface Rotation {
  /** [positions, turned channels / 2] */
  readonly cos_cache: Value;
  readonly sin_cache: Value;
  /** i64 [batch, seq] */
  readonly positions: Value;
  /** Of [batch, seq, heads * width]; 0 where heads have an axis of their own. */
  readonly heads: number;
  /** Channels of a head that turn; 0: all. */
  readonly dim: number;
  readonly interleaved: boolean;
}

export function rotated(build: Builder, x: Value, { heads, dim, interleaved, positions, ...tables }: Rotation, name = ''): Value {
  const attributes = {
    ...(heads === 0 ? {} : { num_heads: int(heads) }),
    ...(interleaved ? { interleaved: int(1) } : {}),
    ...(dim === 0 ? {} : { rotary_embedding_dim: int(dim) }),
  };
  return build.make(RotaryEmbedding, { x, ...tables, position_ids: positions }, { attributes, like: x, name }).y;
}

/** The heads of [batch, seq, heads * width], by default as many as the tables are for; 0 where heads have an axis of their own. */
function headsOf({ input: x, cos_cache, num_heads, rotary_embedding_dim }: MicrosoftRotaryEmbedding): number | Refusal {
  const shape = x.type?.shape;
  if (shape?.length === 4) return 0;
  if (shape?.length !== 3) return refuse('the axes of what is rotated are unknown', x);
  if (num_heads > 0 || rotary_embedding_dim > 0) return num_heads;
  const [channels, half] = [shape[2], cos_cache.type?.shape?.[1]];
  if (typeof channels === 'number' && typeof half === 'number' && channels % (2 * half) === 0) return channels / (2 * half);
  return refuse('the number of heads is unknown', x);
}

/** i64 [batch, seq]: as they are given, or counted from one first position. */
function positionsOf({ input: x, position_ids: given }: MicrosoftRotaryEmbedding, build: Builder): Value | Refusal {
  const rank = given.type?.shape?.length;
  if (rank === 2) return given;
  if (rank !== 1) return refuse('the axes of the positions are unknown', given);
  const shape = x.type!.shape!;
  const axis = shape.length === 3 ? 1 : 2;
  const extent = (at: number): Value =>
    build.make(Shape, { data: x }, { attributes: { start: int(at), end: int(at + 1) }, type: tensorType('i64', [1]) }).shape;
  const tokens = extent(axis);
  const count = build.make(Squeeze, { data: tokens }, { type: tensorType('i64', []) }).squeezed;
  const [start, delta] = [build.constant('start', int64s([], [0])), build.constant('delta', int64s([], [1]))];
  const counted = build.make(Range, { start, limit: count, delta }, { type: tensorType('i64', [shape[axis]!]) }).output;
  const row = build.make(Add, { a: counted, b: given }, { type: tensorType('i64', [shape[axis]!]) }).c;
  const both = build.make(Concat, { inputs: [extent(0), tokens] }, { attributes: { axis: int(0) }, type: tensorType('i64', [2]) });
  return build.make(Expand, { input: row, shape: both.concat_result }, { type: tensorType('i64', [shape[0]!, shape[axis]!]) }).output;
}

/** Rotary embeddings of ONNX Runtime as that of ONNX. */
export const fusedRotaryEmbeddings: readonly RewriteRule[] = [rotary];
