import { int, ints } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
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
    const plain = plainAttention(graph, node);
    if (plain) lower(graph, plain, addendOf);
  }
}

/** Query, key or value, on [batch, seq, count * width] or on [batch, count, seq, width]. */
interface Heads {
  readonly value: Value;
  readonly count: number;
  readonly width: number;
}

interface Plain {
  readonly view: Attention;
  readonly q: Heads;
  readonly k: Heads;
  readonly v: Heads;
}

/** An Attention in f32 that has no mask of its own and does not give its scores. */
function plainAttention(graph: Graph, node: Node): Plain | null {
  const view = viewAs(Attention, node);
  const scores = view?.qk_matmul_output;
  const unread = !scores || (scores.uses.size === 0 && !graph.outputs.includes(scores));
  if (!view || !unread || view.is_causal !== 0 || view.q.type?.dtype !== 'f32') return null;
  const [q, k, v] = [headsOf(view.q, view.q_num_heads), headsOf(view.k, view.kv_num_heads), headsOf(view.v, view.kv_num_heads)];
  return q && k && v && q.count % k.count === 0 ? { view, q, k, v } : null;
}

/** The heads of an operand, which are `given` where it is on tokens; null where they or their width are unknown. */
function headsOf(value: Value, given: number): Heads | null {
  const shape = value.type?.shape;
  const [count, channels] = [shape?.length === 4 ? shape[1] : given, shape?.at(-1)];
  if (typeof count !== 'number' || count === 0 || typeof channels !== 'number') return null;
  return { value, count, width: shape?.length === 4 ? channels : channels / count };
}

/** softmax(cap(factor q k^T) + mask) v in Reshape, Transpose, MatMul and Softmax. */
function lower(graph: Graph, { view, q, k, v }: Plain, addendOf: (mask: Value) => Value): void {
  const { node } = view;
  const build = Builder.before(node, node.output.name);
  const factor = node.attributes.has('scale') ? view.scale : 1 / Math.sqrt(q.width);
  const query = factor === 1 ? view.q : build.value('Mul', [view.q, build.constant('factor', scalar(factor))], {}, view.q.type);
  const times = q.count / k.count;
  const product = build.value('MatMul', [split(build, { ...q, value: query }), turnedKeys(build, view, k, times)]);
  const probabilities = softmax(build, capped(build, product, view.softcap), view.attn_mask, addendOf);
  const values = cached(build, view.past_value, split(build, v), view.present_value);
  const context = build.value('MatMul', [probabilities, repeated(build, values, v, times)]);
  graph.replace(view.y, view.q.type?.shape?.length === 4 ? context : merged(build, context, q.count * v.width, view.y));
  graph.erase(node);
}

/** [batch, heads, seq, width] to [batch, seq, channels]. */
function merged(build: Builder, context: Value, channels: number, like: Value): Value {
  const turned = build.value('Transpose', [context], { perm: ints([0, 2, 1, 3]) });
  return build.value('Reshape', [turned, build.constant('merged', int64s([3], [0, 0, channels]))], {}, like.type);
}

/** The keys of all query heads as [batch, heads, width, seq], in one Transpose where nothing else is done with them. */
function turnedKeys(build: Builder, view: Attention, k: Heads, times: number): Value {
  if (times === 1 && !view.past_key && !view.present_key && !apartOf(k)) return split(build, k, [0, 2, 3, 1]);
  const keys = cached(build, view.past_key, split(build, k), view.present_key);
  return build.value('Transpose', [repeated(build, keys, k, times)], { perm: ints([0, 1, 3, 2]) });
}

/** [batch, count, seq, width] of heads, where they are so or were merged from that. */
function apartOf({ value, count, width }: Heads): Value | null {
  if (value.type?.shape?.length === 4) return value;
  const turn = viewAs(Transpose, viewAs(Reshape, value.producer)?.data.producer ?? null);
  const before = turn?.perm?.join() === '0,2,1,3' ? turn.data : null;
  return before?.type?.shape?.[1] === count && before.type.shape[3] === width ? before : null;
}

/** Heads as [batch, count, seq, width], or in the order of `perm`. */
function split(build: Builder, heads: Heads, perm: readonly number[] = [0, 2, 1, 3]): Value {
  const { value, count, width } = heads;
  const apart = apartOf(heads);
  if (apart) return apart;
  const [batch = null, seq = null] = value.type?.shape ?? [];
  const extents = [batch, seq, count, width];
  const of = (shape: readonly Dim[]) => value.type && tensorType(value.type.dtype, shape);
  const shape = build.constant('heads', int64s([4], [0, 0, count, width]));
  const tokens = build.value('Reshape', [value, shape], {}, of(extents));
  return build.value('Transpose', [tokens], { perm: ints(perm) }, of(perm.map((p) => extents[p]!)));
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
function repeated(build: Builder, v: Value, { count, width }: Heads, times: number): Value {
  if (times === 1) return v;
  const int64 = (label: string, x: readonly number[]): Value => build.constant(label, int64s([x.length], x));
  const apart = build.value('Unsqueeze', [v, int64('shared_axis', [2])]);
  const spread = build.value('Expand', [apart, int64('shared', [1, 1, times, 1, 1])]);
  return build.value('Reshape', [spread, int64('all_heads', [0, count * times, -1, width])]);
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
