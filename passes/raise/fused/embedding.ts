import { int } from '../../../ir/attributes.ts';
import type { Builder } from '../../../ir/builder.ts';
import type { Value } from '../../../ir/graph.ts';
import { Add, Cast, Equal, Expand, Gather, ReduceSum, Shape, Slice } from '../../../ir/ops/generated.ts';
import { EmbedLayerNormalization } from '../../../ir/ops/microsoft.ts';
import { isRead } from '../../../ir/pattern.ts';
import { ruleFor, type RewriteRule } from '../../../ir/rewrite.ts';
import { inMemory, int64s } from '../../../ir/tensor.ts';
import { dtypes, tensorType, type Dim } from '../../../ir/types.ts';
import { layerNormOf } from './norms.ts';

/** The norm of the sum of the embeddings of words, positions and segments. */
const embedding = ruleFor('raise-embed-layer-norm', EmbedLayerNormalization, (view, build) => {
  const { output, embedding_sum, mask_index } = view;
  const words = build.make(Gather, { data: view.word_embedding, indices: view.input_ids }, { like: output }).output;
  const add = (a: Value, b: Value): Value => build.make(Add, { a, b }, { like: embedding_sum ?? output, type: output.type }).c;
  const placed = add(words, positions(view, build));
  const segments = view.segment_embedding && view.segment_ids;
  const x = segments
    ? add(placed, build.make(Gather, { data: view.segment_embedding!, indices: segments }, { like: output }).output)
    : placed;
  build.graph.replace(output, layerNormOf(view, x, build));
  if (isRead(embedding_sum)) build.graph.replace(embedding_sum!, x);
  if (isRead(mask_index)) build.graph.replace(mask_index!, lengths(view, build, mask_index!));
});

/** The embeddings of the positions that are given, [batch, seq, C] or [1, seq, C], or of 0 to seq - 1, [seq, C]. */
function positions({ position_embedding: data, position_ids, input_ids }: EmbedLayerNormalization, build: Builder): Value {
  const [channels = null] = data.type?.shape?.slice(1) ?? [];
  const typed = (lead: readonly Dim[]) => ({ like: data, type: tensorType(data.type!.dtype, [...lead, channels]) });
  if (position_ids) return build.make(Gather, { data, indices: position_ids }, typed(position_ids.type?.shape ?? [null, null])).output;
  const ends = build.make(Shape, { data: input_ids }, { attributes: { start: int(1), end: int(2) }, type: tensorType('i64', [1]) }).shape;
  const zero = build.ints('zero', [0]);
  return build.make(Slice, { data, starts: zero, ends, axes: zero }, typed([input_ids.type?.shape?.[1] ?? null])).output;
}

/** How many elements of each row of the mask are 1; 0 without a mask. i32 [batch]. */
function lengths({ mask, input_ids }: EmbedLayerNormalization, build: Builder, like: Value): Value {
  const batch = input_ids.type?.shape?.[0] ?? null;
  const counted = { like, type: tensorType('i32', [batch]) };
  const zero = build.constant('none', inMemory('i32', [1], Int32Array.of(0)));
  if (!mask) {
    const shape = build.make(Shape, { data: input_ids }, { attributes: { end: int(1) }, type: tensorType('i64', [1]) }).shape;
    return build.make(Expand, { input: zero, shape }, counted).output;
  }
  const shape = mask.type?.shape ?? null;
  const one = build.constant('one', inMemory('i32', [1], Int32Array.of(1)));
  const kept = build.make(Equal, { a: mask, b: one }, { type: tensorType('bool', shape) }).c;
  const to = int(dtypes.indexOf('i32') + 1);
  const ones = build.make(Cast, { input: kept }, { attributes: { to }, type: tensorType('i32', shape) }).output;
  const axes = build.constant('axes', int64s([1], [1]));
  return build.make(ReduceSum, { data: ones, axes }, { attributes: { keepdims: int(0) }, ...counted }).reduced;
}

/** Embeddings of BERT in one operator. */
export const fusedEmbeddings: readonly RewriteRule[] = [embedding];
