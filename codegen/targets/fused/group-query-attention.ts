import { float, int, type Attributes } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import { readCausalMask, readPositions, type CausalMask } from '../../../ir/causal-mask.ts';
import type { Graph, Value } from '../../../ir/graph.ts';
import { Attention, RotaryEmbedding, Split } from '../../../ir/ops/generated.ts';
import { GroupQueryAttention } from '../../../ir/ops/microsoft.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import { isRead } from '../../../ir/pattern.ts';
import { carry } from '../../onnx/carried.ts';
import { eraseSites, forEachOf } from '../nodes.ts';

/**
 * Attentions whose mask follows from the lengths of sequences, as raising makes them, become ONNX Runtime's GroupQueryAttention again. It
 * computes no score that is hidden, and may write into a cache that has room: so onnxruntime-genai runs the model as it ran the original.
 */
export function lowerToGroupQueryAttentions(graph: Graph): void {
  eraseSites(graph);
  forEachOf(graph, [Attention.schema.op], (node) => {
    const view = new Attention(node);
    const mask = readCausalMask(view.attn_mask);
    if (mask && fits(view)) lower(graph, view, mask);
  });
}

/** Heads on the last axis, and either both or no caches. */
const fits = (view: Attention): boolean =>
  view.q_num_heads > 0 &&
  view.kv_num_heads > 0 &&
  view.is_causal === 0 &&
  (view.past_key === null) === (view.past_value === null) &&
  !isRead(view.qk_matmul_output);

function lower(graph: Graph, view: Attention, mask: CausalMask): void {
  const { node } = view;
  const build = Builder.before(node);
  const rotation = rotationOf(view, mask);
  const [q, k] = rotation ? [rotation.q.x, rotation.k.x] : [view.q, view.k];
  const whole = packed([q, k, view.v], view);
  const operands = [
    ...(whole ? [whole, null, null] : [q, k, view.v]),
    ...[view.past_key, view.past_value, mask.last, mask.total],
    ...(rotation ? [rotation.q.cos_cache, rotation.q.sin_cache] : []),
  ];
  const results = node.outputs.map(({ name, type }) => ({ name: graph.freshName(name), type }));
  const attributes = { ...shared(view, mask), ...(rotation ? { do_rotary: int(1), rotary_interleaved: int(rotation.q.interleaved) } : {}) };
  const made = build.insert({ op: GroupQueryAttention.schema.op, inputs: operands, attributes, results, name: node.name });
  // Types are written: ONNX Runtime infers that caches do not grow, and would put the new one where the old one lies.
  for (const cache of made.outputs.slice(1)) carry(cache, { info: {} });
  node.outputs.forEach((from, i) => graph.replace(from, made.outputs[i]!));
  graph.erase(node);
}

const shared = (view: Attention, { window }: CausalMask): Attributes => ({
  num_heads: int(view.q_num_heads),
  kv_num_heads: int(view.kv_num_heads),
  ...(view.scale === 0 ? {} : { scale: float(view.scale) }),
  ...(view.softcap === 0 ? {} : { softcap: float(view.softcap) }),
  ...(window === null ? {} : { local_window_size: int(window) }),
});

interface Rotation {
  readonly q: RotaryEmbedding;
  readonly k: RotaryEmbedding;
}

/** The rotations of query and key, where they are by the positions that the lengths give, and nothing else reads what they make. */
function rotationOf(view: Attention, mask: CausalMask): Rotation | null {
  const [q, k] = [view.q, view.k].map((v) => viewAs(RotaryEmbedding, isOnlyRead(v) ? v.producer : null));
  const alike = q && k && q.cos_cache === k.cos_cache && q.sin_cache === k.sin_cache && q.interleaved === k.interleaved;
  const byLength = q?.position_ids !== null && q?.position_ids === k?.position_ids && readPositions(q?.position_ids ?? null) === mask.last;
  const ofHeads = q?.num_heads === view.q_num_heads && k?.num_heads === view.kv_num_heads;
  return alike && byLength && ofHeads ? { q, k } : null;
}

const isOnlyRead = (v: Value): boolean => v.uses.size === 1 && !v.producer?.graph?.outputs.includes(v);

/** Queries, keys and values that a Split makes of one value, if nothing else reads them. */
function packed(parts: readonly Value[], { q_num_heads: heads, kv_num_heads: keyHeads }: Attention): Value | null {
  const split = viewAs(Split, parts[0]!.producer);
  const isSplit = split?.outputs.length === 3 && parts.every((v, i) => v === split.outputs[i] && isOnlyRead(v));
  if (!split || !isSplit || (split.axis !== -1 && split.axis !== 2)) return null;
  const widths = parts.map((v, i) => Number(v.type?.shape?.at(-1)) / (i === 0 ? heads : keyHeads));
  return widths.every((w) => w === widths[0]) ? split.input : null;
}
