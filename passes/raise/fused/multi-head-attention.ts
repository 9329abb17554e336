import type { Value } from '../../../ir/graph.ts';
import { Add } from '../../../ir/ops/generated.ts';
import { MultiHeadAttention } from '../../../ir/ops/microsoft.ts';
import { isRead, refuse, type Refusal } from '../../../ir/pattern.ts';
import { ruleFor, type RewriteRule } from '../../../ir/rewrite.ts';
import { SharedBuilder } from '../../../ir/shared.ts';
import { derived, floats } from '../../../ir/tensor.ts';
import { makeAttention, replaceResults } from './attention-node.ts';
import { maskOf } from './masks.ts';

/** What scores of padding get where the model does not say. */
export const usualFilter = -10000;

/** Query, key and value, with a bias on each = three Adds and an Attention. */
const multiHead = ruleFor('raise-multi-head-attention', MultiHeadAttention, (view, build) => {
  const { node, query, key, value, past_key, past_value, num_heads: heads } = view;
  const refused = unusual(view);
  if (refused) return refused;
  const made = new SharedBuilder(build);
  const filter = node.attributes.has('mask_filter_value') ? view.mask_filter_value : usualFilter;
  const hidden = { padding: view.key_padding_mask, filter, causal: view.unidirectional !== 0, bias: view.attention_bias };
  const mask = maskOf(made, { query, key: key!, past: past_key }, hidden);
  if (mask && 'refused' in mask) return mask;
  const widths = [query, key!, value!].map((v) => Number(v.type!.shape![2]));
  const starts = [0, widths[0]!, widths[0]! + widths[1]!];
  const [q, k, v] = [query, key!, value!].map((x, i) => {
    const bias = view.bias?.constant;
    if (!bias) return x;
    const part = derived(bias, [widths[i]!], () => floats(bias).slice(starts[i]!, starts[i]! + widths[i]!));
    return build.make(Add, { a: x, b: build.constant(view.bias!.name, part) }, { like: x }).c;
  });
  const results = { y: view.output, key: view.present_key, value: view.present_value };
  const past = past_key && past_value ? ([past_key, past_value] as const) : null;
  const parts = { q: q!, k: k!, v: v!, mask, past, heads, keyHeads: heads, scale: view.scale, softcap: 0, name: node.name };
  replaceResults(build, results, makeAttention(build, parts, results));
});

/** Why an attention is none that the IR has words for. */
function unusual(view: MultiHeadAttention): Refusal | null {
  const { query, key, value, bias, past_key, past_value } = view;
  if (!key || !value) return refuse('queries, keys and values are one value', query);
  const flat = (v: Value): boolean => v.type?.shape?.length === 3 && typeof v.type.shape[2] === 'number';
  const odd = [query, key, value].find((v) => !flat(v));
  if (odd) return refuse('it is not known to be [batch, sequence, channels]', odd);
  if (bias && !bias.constant) return refuse('its bias is no constant', bias);
  if ((past_key === null) !== (past_value === null)) return refuse('its cache is not of both, keys and values', past_key ?? past_value!);
  if (view.past_sequence_length) return refuse('its cache has a fixed length', view.past_sequence_length);
  if (view.cache_indirection) return refuse('its cache serves a beam search', view.cache_indirection);
  return isRead(view.qk) ? refuse('its scores are read', view.qk!) : null;
}

export const multiHeadAttentions: readonly RewriteRule[] = [multiHead];
