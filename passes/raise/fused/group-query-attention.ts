import { int } from '../../../ir/attributes.ts';
import type { Builder } from '../../../ir/builder.ts';
import { causalMask, tokenPositions } from '../../../ir/causal-mask.ts';
import type { Value } from '../../../ir/graph.ts';
import { Add, Split } from '../../../ir/ops/generated.ts';
import { GroupQueryAttention } from '../../../ir/ops/microsoft.ts';
import { isRead, refuse, type Refusal } from '../../../ir/pattern.ts';
import { ruleFor, type RewriteRule } from '../../../ir/rewrite.ts';
import { SharedBuilder } from '../../../ir/shared.ts';
import { tensorType } from '../../../ir/types.ts';
import { attentionRoles } from '../../model/attentions.ts';
import { makeAttention, replaceResults } from './attention-node.ts';
import { rotated } from './rotary-embedding.ts';

/**
 * Attention of groups of query heads, of which the lengths of sequences say what is hidden = rotations, a mask and an Attention. The cache
 * grows by what goes in, so all sequences of a batch must have as many tokens in it; a prompt may be filled up behind.
 */
const grouped = ruleFor('raise-group-query-attention', GroupQueryAttention, (view, build) => {
  const { node, num_heads: heads, kv_num_heads: keyHeads, past_key, past_value } = view;
  const refused = unusual(view);
  if (refused) return refused;
  const width = widthOf(view)!;
  const make = new SharedBuilder(build);
  const [query, key, v] = view.key && view.value ? [view.query, view.key, view.value] : apart(build, view, width);
  const turned = view.do_rotary !== 0;
  const positions = turned ? (view.position_ids ?? tokenPositions(make, view.seqlens_k, view.query)) : null;
  const rotate = (x: Value, of: number): Value => {
    if (!positions) return x;
    const { cos_cache, sin_cache } = view;
    const dim = 2 * Number(cos_cache!.type!.shape![1]);
    const rotation = { cos_cache: cos_cache!, sin_cache: sin_cache!, positions, heads: of, dim: dim === width ? 0 : dim };
    return rotated(build, x, { ...rotation, interleaved: view.rotary_interleaved !== 0 });
  };
  const lengths = { last: view.seqlens_k, total: view.total_sequence_length };
  const hidden = causalMask(make, lengths, view.query, view.local_window_size > 0 ? view.local_window_size : null);
  const mask = view.attention_bias ? make.value(Add.schema.op, [hidden, view.attention_bias], {}, hidden.type) : hidden;
  const past = past_key && past_value ? ([past_key, past_value] as const) : null;
  const { scale, softcap } = view;
  const parts = {
    q: rotate(query!, heads),
    k: rotate(key!, keyHeads),
    v: v!,
    mask,
    past,
    heads,
    keyHeads,
    scale,
    softcap,
    name: node.name,
  };
  const results = { y: view.output, key: view.present_key, value: view.present_value };
  replaceResults(build, results, makeAttention(build, parts, results));
});

/** Channels of a head. */
function widthOf({ query, key, num_heads: heads, kv_num_heads: keyHeads }: GroupQueryAttention): number | null {
  const channels = query.type?.shape?.length === 3 ? query.type.shape[2] : null;
  const width = typeof channels === 'number' ? channels / (key ? heads : heads + 2 * keyHeads) : Number.NaN;
  return Number.isInteger(width) ? width : null;
}

/** Queries, keys and values that come side by side. */
function apart(build: Builder, view: GroupQueryAttention, width: number): readonly Value[] {
  const { query, num_heads: heads, kv_num_heads: keyHeads } = view;
  const sizes = [heads, keyHeads, keyHeads].map((n) => n * width);
  const [batch, tokens] = query.type!.shape!;
  const results = sizes.map((size, i) => ({
    name: build.graph.freshName(`${query.name}.${attentionRoles[i]}`),
    type: tensorType(query.type!.dtype, [batch!, tokens!, size]),
  }));
  const inputs = [query, build.ints('sizes', sizes)];
  return build.insert({ op: Split.schema.op, inputs, attributes: { axis: int(-1) }, results }).outputs;
}

/** Why an attention is none that the IR has words for. */
function unusual(view: GroupQueryAttention): Refusal | null {
  const { query, key, value, past_key, past_value } = view;
  if (widthOf(view) === null) return refuse('the channels of its queries are unknown', query);
  if ((key === null) !== (value === null)) return refuse('keys and values are one value', key ?? value!);
  if ((past_key === null) !== (past_value === null)) return refuse('its cache is not of both, keys and values', past_key ?? past_value!);
  if (view.do_rotary && !(view.cos_cache && view.sin_cache)) return refuse('it rotates without tables', query);
  if (view.do_rotary && typeof view.cos_cache!.type?.shape?.[1] !== 'number')
    return refuse('the width of its rotary tables is unknown', view.cos_cache!);
  return unlikeAttention(view) ?? fixedCache(view);
}

/** What Attention does not do. */
function unlikeAttention(view: GroupQueryAttention): Refusal | null {
  if (view.causal === 0) return refuse('it is not causal', view.output);
  if (view.head_sink || view.smooth_softmax > 0) return refuse('its softmax has a sink', view.head_sink ?? view.output);
  if (view.q_norm_weight || view.k_norm_weight)
    return refuse('it has norms of queries and keys', view.q_norm_weight ?? view.k_norm_weight!);
  const scale = view.k_scale ?? view.v_scale;
  if (scale || view.k_quant_type !== 'NONE' || view.v_quant_type !== 'NONE') return refuse('its cache is quantized', scale ?? view.output);
  return isRead(view.output_qk) ? refuse('its scores are read', view.output_qk!) : null;
}

/** A cache that has room for later tokens: Attention appends what is new. */
function fixedCache(view: GroupQueryAttention): Refusal | null {
  const { past_key: past, present_key: present } = view;
  const [from, to] = [past?.type?.shape?.[2], present?.type?.shape?.[2]];
  if (past && from !== undefined && from === to) return refuse('its cache has a fixed length', past);
  return view.sliding_window_cache > 0 ? refuse('its cache keeps a window', past ?? view.output) : null;
}

export const groupQueryAttentions: readonly RewriteRule[] = [grouped];
