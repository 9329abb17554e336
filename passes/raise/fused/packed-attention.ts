import { int } from '../../../ir/attributes.ts';
import type { Builder } from '../../../ir/builder.ts';
import { isMatrix } from '../../../ir/constants.ts';
import type { ResultInit, Value } from '../../../ir/graph.ts';
import { Add, Concat, Gather, MatMul, Unsqueeze } from '../../../ir/ops/generated.ts';
import { Attention } from '../../../ir/ops/microsoft.ts';
import { isRead, refuse, type Refusal } from '../../../ir/pattern.ts';
import { ruleFor, type RewriteRule } from '../../../ir/rewrite.ts';
import { SharedBuilder } from '../../../ir/shared.ts';
import { derived, floats, int64s, type Tensor } from '../../../ir/tensor.ts';
import { tensorType } from '../../../ir/types.ts';
import { attentionRoles } from '../../model/attentions.ts';
import { makeAttention, type AttentionResults } from './attention-node.ts';
import { maskOf } from './masks.ts';
import { usualFilter } from './multi-head-attention.ts';

/** An attention with the weights of queries, keys and values side by side = three linears and an Attention. */
const packed = ruleFor('raise-packed-attention', Attention, (view, build) => {
  const { node, input: x, num_heads: heads } = view;
  const refused = unusual(view);
  if (refused) return refused;
  const past = view.past ? pastOf(build, view.past) : null;
  const make = new SharedBuilder(build);
  const filter = node.attributes.has('mask_filter_value') ? view.mask_filter_value : usualFilter;
  const hidden = { padding: view.mask_index, filter, causal: view.unidirectional !== 0, bias: view.attention_bias };
  const mask = maskOf(make, { query: x, key: x, past: past?.[0] ?? null }, hidden);
  if (mask && 'refused' in mask) return mask;
  const [q, k, v] = linears(build, view);
  const parts = { q: q!, k: k!, v: v!, mask, past, heads, keyHeads: heads, scale: view.scale, softcap: 0, name: node.name };
  const cache = isRead(view.present) ? view.present : null;
  const made = makeAttention(build, parts, { y: view.output, key: cache, value: cache });
  for (const part of [made.key, made.value])
    if (part) build.graph.setType(part, part.type && tensorType(part.type.dtype, part.type.shape?.slice(1) ?? null));
  build.graph.replace(view.output, made.y);
  if (cache) build.graph.replace(cache, joined(build, made, cache));
});

/** Why an attention is none that the IR has words for. */
function unusual(view: Attention): Refusal | null {
  const { input: x, weights, bias, past, num_heads: heads } = view;
  if (x.type?.shape?.length !== 3) return refuse('the axes of its input are unknown', x);
  if (!isMatrix(weights)) return refuse('its weights are no constant', weights);
  if (bias && !bias.constant) return refuse('its bias is no constant', bias);
  const [widths, columns] = [widthsOf(view), weights.constant!.shape[1]!];
  const whole = widths.length === 3 && widths.every((w) => w % heads === 0) && sum(widths) === columns;
  if (!whole) return refuse(`its ${columns} columns are not queries, keys and values of ${heads} heads`, weights);
  if (past && past.type?.shape?.length !== 5) return refuse('the axes of its cache are unknown', past);
  if (view.past_present_share_buffer || view.past_sequence_length) return refuse('its cache has a fixed length', past ?? x);
  return view.do_rotary ? refuse('it rotates queries and keys', x) : null;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

/** The channels of queries, keys and values. */
function widthsOf({ weights, qkv_hidden_sizes }: Attention): readonly number[] {
  return qkv_hidden_sizes ?? new Array<number>(3).fill(weights.constant!.shape[1]! / 3);
}

/** x W + b for queries, keys and values, each under a name of its own. */
function linears(build: Builder, view: Attention): readonly Value[] {
  const { node, input: x, weights, bias } = view;
  const widths = widthsOf(view);
  const [batch, tokens] = x.type!.shape!;
  return widths.map((width, i) => {
    const role = attentionRoles[i]!;
    const start = sum(widths.slice(0, i));
    const result = (): ResultInit => {
      const name = build.graph.freshName(`${view.output.name}.${role}`);
      return { name, type: tensorType(x.type!.dtype, [batch!, tokens!, width]) };
    };
    const w = build.constant(`${weights.name}.${role}`, columns(weights.constant!, start, width));
    const name = node.name && `${node.name}.${role}`;
    const product = build.insert({ op: MatMul.schema.op, inputs: [x, w], results: [result()], name }).output;
    if (!bias) return product;
    const part = derived(bias.constant!, [width], () => floats(bias.constant!).slice(start, start + width));
    const b = build.constant(`${bias.name}.${role}`, part);
    return build.insert({ op: Add.schema.op, inputs: [product, b], results: [result()] }).output;
  });
}

/** Some columns of a matrix. */
function columns(w: Tensor, start: number, width: number): Tensor {
  const [rows = 0, all = 0] = w.shape;
  return derived(w, [rows, width], () => {
    const from = floats(w);
    const to = new Float32Array(rows * width);
    for (let r = 0; r < rows; r++) to.set(from.subarray(r * all + start, r * all + start + width), r * width);
    return to;
  });
}

/** Keys and values of a cache [2, batch, heads, past, width]. */
function pastOf(build: Builder, past: Value): readonly [Value, Value] {
  const type = tensorType(past.type!.dtype, past.type!.shape!.slice(1));
  const part = (i: number): Value => {
    const indices = build.constant('part', int64s([], [i]));
    return build.make(Gather, { data: past, indices }, { attributes: { axis: int(0) }, like: past, type }).output;
  };
  return [part(0), part(1)];
}

function joined(build: Builder, { key, value }: AttentionResults, like: Value): Value {
  const axes = build.ints('axes', [0]);
  const type = like.type && tensorType(like.type.dtype, like.type.shape?.with(0, 1) ?? null);
  const inputs = [key!, value!].map((v) => build.make(Unsqueeze, { data: v, axes }, { like, type }).expanded);
  return build.make(Concat, { inputs }, { attributes: { axis: int(0) }, like }).concat_result;
}

export const packedAttentions: readonly RewriteRule[] = [packed];
