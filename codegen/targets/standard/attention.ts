import { int, ints } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import { fail } from '../../../ir/diagnostics.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { Attention, Reshape, Transpose } from '../../../ir/ops/generated.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import { plus } from '../../../ir/shapes/dims.ts';
import { int64s, scalar } from '../../../ir/tensor.ts';
import { tensorType, type Dim } from '../../../ir/types.ts';

/** Every Attention that is no more than its primitives as these, for opsets before 23. */
export function lowerAttentions(graph: Graph): void {
  const addendOf = addends(graph);
  for (const node of [...graph.nodes]) {
    const view = plainAttention(graph, node);
    if (view) lower(graph, view, addendOf);
  }
}

/** An Attention on [batch, seq, heads * width] that has no mask of its own and does not give its scores. */
function plainAttention(graph: Graph, node: Node): Attention | null {
  const view = viewAs(Attention, node);
  const heads = view && view.q_num_heads > 0 && view.q_num_heads % view.kv_num_heads === 0;
  const scores = view?.qk_matmul_output;
  const unread = !scores || (scores.uses.size === 0 && !graph.outputs.includes(scores));
  return heads && unread && view.is_causal === 0 ? view : null;
}

/** softmax(cap(factor q k^T) + mask) v in Reshape, Transpose, MatMul and Softmax. */
function lower(graph: Graph, view: Attention, addendOf: (mask: Value) => Value): void {
  const { node } = view;
  const build = Builder.before(node, node.output.name);
  const [queries, keys] = [view.q_num_heads, view.kv_num_heads];
  const width = (v: Value, heads: number): number => {
    const channels = v.type?.shape?.at(-1);
    return typeof channels === 'number' ? channels / heads : fail('QC4001', `%${v.name} has an unknown number of channels`, node.loc);
  };
  const factor = node.attributes.has('scale') ? view.scale : 1 / Math.sqrt(width(view.q, queries));
  const query = factor === 1 ? view.q : build.value('Mul', [view.q, build.constant('factor', scalar(factor))], {}, view.q.type);
  const k = cached(build, view.past_key, split(build, view.k, keys, width(view.k, keys)), view.present_key);
  const v = cached(build, view.past_value, split(build, view.v, keys, width(view.v, keys)), view.present_value);
  const turned = build.value('Transpose', [repeated(build, k, queries / keys, keys, width(view.k, keys))], { perm: ints([0, 1, 3, 2]) });
  const product = build.value('MatMul', [split(build, query, queries, width(query, queries)), turned]);
  const probabilities = softmax(build, capped(build, product, view.softcap), view.attn_mask, addendOf);
  const context = build.value('MatMul', [probabilities, repeated(build, v, queries / keys, keys, width(view.v, keys))]);
  const merged = build.value('Transpose', [context], { perm: ints([0, 2, 1, 3]) });
  const channels = queries * width(view.v, keys);
  graph.replace(view.y, build.value('Reshape', [merged, build.constant('merged', int64s([3], [0, 0, channels]))], {}, view.y.type));
  graph.erase(node);
}

/** [batch, seq, heads * width] to [batch, heads, seq, width]; what such a value was merged from, where it was. */
function split(build: Builder, v: Value, heads: number, width: number): Value {
  const turn = viewAs(Transpose, viewAs(Reshape, v.producer)?.data.producer ?? null);
  const merged = turn?.perm?.join() === '0,2,1,3' ? turn.data : null;
  if (merged?.type?.shape?.[1] === heads && merged.type.shape[3] === width) return merged;
  const [batch = null, seq = null] = v.type?.shape ?? [];
  const of = (shape: readonly Dim[]) => v.type && tensorType(v.type.dtype, shape);
  const shape = build.constant('heads', int64s([4], [0, 0, heads, width]));
  const apart = build.value('Reshape', [v, shape], {}, of([batch, seq, heads, width]));
  return build.value('Transpose', [apart], { perm: ints([0, 2, 1, 3]) }, of([batch, heads, seq, width]));
}

/** The tokens of a cache and the new ones, which the caller gets as the next cache. */
function cached(build: Builder, past: Value | null, fresh: Value, present: Value | null): Value {
  const [before, after] = [past?.type?.shape, fresh.type?.shape];
  const shape = before && after ? after.map((d, i) => (i === 2 ? plus(before[2] ?? null, d) : d)) : null;
  const all = past ? build.value('Concat', [past, fresh], { axis: int(2) }, fresh.type && tensorType(fresh.type.dtype, shape)) : fresh;
  if (present) build.graph.replace(present, all);
  return all;
}

/** Each head of [batch, heads, seq, width] as often as query heads share it, by an axis that is spread. */
function repeated(build: Builder, v: Value, times: number, heads: number, width: number): Value {
  if (times === 1) return v;
  const int64 = (label: string, x: readonly number[]): Value => build.constant(label, int64s([x.length], x));
  const apart = build.value('Unsqueeze', [v, int64('shared_axis', [2])]);
  const spread = build.value('Expand', [apart, int64('shared', [1, 1, times, 1, 1])]);
  return build.value('Reshape', [spread, int64('all_heads', [0, heads * times, -1, width])]);
}

/** cap * tanh(x / cap); 0 is no cap. */
function capped(build: Builder, scores: Value, cap: number): Value {
  if (cap === 0) return scores;
  const by = build.constant('cap', scalar(cap));
  return build.value('Mul', [build.value('Tanh', [build.value('Div', [scores, by])]), by]);
}

/** A token that sees no key at all by a bool mask has the probability 0 for each, by the operator's errata; the softmax gives NaN there. */
function softmax(build: Builder, scores: Value, mask: Value | null, addendOf: (mask: Value) => Value): Value {
  const masked = mask ? build.value('Add', [scores, addendOf(mask)]) : scores;
  const probabilities = build.value('Softmax', [masked], { axis: int(-1) });
  if (mask?.type?.dtype !== 'bool') return probabilities;
  return build.value('Where', [build.value('IsNaN', [probabilities]), build.constant('zero', scalar(0)), probabilities]);
}

/** What masks add to scores: a bool one -inf where it is false, computed once for all that read it. */
function addends(graph: Graph): (mask: Value) => Value {
  const known = new Map<Value, Value>();
  return (mask) => {
    if (mask.type?.dtype !== 'bool') return mask;
    const found = known.get(mask);
    if (found) return found;
    const build = Builder.behind(graph, mask, mask.name);
    const numbers = [0, -Infinity].map((x) => build.constant(x === 0 ? 'seen' : 'hidden', scalar(x)));
    const made = build.value('Where', [mask, ...numbers], {}, tensorType('f32', mask.type.shape));
    known.set(mask, made);
    return made;
  };
}
