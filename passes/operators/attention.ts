import { inverse, permAt, scaleAt, shiftAt, type ChannelTransform } from '../../ir/channel.ts';
import { headed, pinned } from '../../ir/freedom.ts';
import type { Node } from '../../ir/graph.ts';
import { Attention } from '../../ir/ops/generated.ts';
import { Decode } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { isRead } from '../../ir/pattern.ts';
import { isFilled, mayMove, moveCache, type Ends } from './attention-caches.ts';
import { encodeOperand } from './encode-operand.ts';
import type { CacheEnds, Down, Heads, OperatorRecord, Up } from './record.ts';

/**
 * The heads on [batch, seq, heads * width]; null where no change of basis may pass: a cache that must keep its basis goes in or out,
 * scores are given out, or heads have an axis of their own.
 */
function heads(node: Node, size?: number): Heads | null {
  const view = new Attention(node);
  const [queries, keys] = [view.q_num_heads, view.kv_num_heads];
  const free = !isRead(view.qk_matmul_output) && mayMove(keysIn(view)) && mayMove(valuesIn(view));
  const whole = queries > 0 && keys > 0 && queries % keys === 0 && (size === undefined || size % queries === 0);
  return free && whole ? { queries, keys, shared: queries / keys } : null;
}

/**
 * T(P v) = P T(v) within each head, since the rows of P sum to 1; value heads that several query heads share move once. Those of tokens
 * before are under T in the cache.
 */
const up: Up = {
  freedom(node, size) {
    const found = heads(node, size);
    return (
      found &&
      headed(found.queries, size / found.queries, found.shared, { perm: true, scale: true, shift: isFilled(valuesIn(new Attention(node))) })
    );
  },
  onward: (node, size) => [{ operand: 2, channels: valueChannels(new Attention(node), size) }],
  absorb(graph, node, t) {
    const view = new Attention(node);
    const ofValues = ofLeaders(t, view.q_num_heads, view.kv_num_heads);
    encodeOperand(graph, node, 2, ofValues);
    moveCache(graph, valuesIn(view), ofValues);
  },
};

const valueChannels = (view: Attention, size: number): number => (size / view.q_num_heads) * view.kv_num_heads;

/** The transform of the value heads, given that of the query heads' results. */
function ofLeaders(t: ChannelTransform, queries: number, values: number): ChannelTransform {
  const width = t.size / queries;
  const shared = queries / values;
  const source = (i: number) => Math.floor(i / width) * shared * width + (i % width);
  const size = values * width;
  const at = (f: (i: number) => number) => Float64Array.from({ length: size }, (_, i) => f(source(i)));
  const perm = Uint32Array.from({ length: size }, (_, i) => permAt(t, source(i)) - source(i) + i);
  return { size, perm: t.perm && perm, scale: t.scale && at((i) => scaleAt(t, i)), shift: t.shift && at((i) => shiftAt(t, i)) };
}

/**
 * D(q) E(k)^T = q k^T when both have the same order within each head and reciprocal scales. A shift of k adds the same to all
 * scores of a query, which the softmax ignores; a shift of q does not cancel. Keys of tokens before have it in the cache.
 */
const down: Down = {
  freedom(node, operand, size) {
    const found = heads(node);
    if (!found || operand > 1) return pinned(size);
    if (operand === 0) return headed(found.queries, size / found.queries, found.shared, { perm: true, scale: true, shift: false });
    return headed(found.keys, size / found.keys, 1, { perm: true, scale: true, shift: takesShift(new Attention(node)) });
  },
  absorb(graph, use, decode) {
    const view = viewAs(Attention, use.node);
    const [q, k] = [viewAs(Decode, view?.q.producer ?? null), viewAs(Decode, view?.k.producer ?? null)];
    if (!view || !heads(view.node) || use.index > 1 || (q !== null && k !== null && q.node === k.node)) return false;
    if (!cancel(q?.transform ?? null, k?.transform ?? null, view)) return false;
    if (q) graph.setInput(view.node, 0, q.x);
    if (k) graph.setInput(view.node, 1, k.x);
    if (k) moveCache(graph, keysIn(view), inverse(k.transform));
    return q?.node === decode.node || k?.node === decode.node;
  },
};

/** Whether keys may have a shift: a soft cap is not blind to what it adds to all scores of a query. */
const takesShift = (view: Attention): boolean => view.softcap === 0 && isFilled(keysIn(view));

function cancel(q: ChannelTransform | null, k: ChannelTransform | null, view: Attention): boolean {
  if (q?.shift || (k?.shift && !takesShift(view))) return false;
  const width = (q ? q.size / view.q_num_heads : k!.size / view.kv_num_heads) | 0;
  const shared = view.q_num_heads / view.kv_num_heads;
  const keyOf = (i: number) => Math.floor(i / width / shared) * width + (i % width);
  for (let i = 0; i < width * view.q_num_heads; i++) {
    const j = keyOf(i);
    const [p, r] = [q ? permAt(q, i) : i, k ? permAt(k, j) : j];
    const sameHead = Math.floor(p / width) === Math.floor(i / width) && Math.floor(r / width) === Math.floor(j / width);
    const product = (q ? scaleAt(q, i) : 1) * (k ? scaleAt(k, j) : 1);
    if (!sameHead || p % width !== r % width || Math.abs(product - 1) > 1e-9 || !Number.isFinite(k ? shiftAt(k, j) : 0)) return false;
  }
  return true;
}

const keysIn = ({ past_key, present_key }: Attention): Ends => ({ past: past_key, present: present_key });
const valuesIn = ({ past_value, present_value }: Attention): Ends => ({ past: past_value, present: present_value });

/** The caches that come in, of keys and of values. */
function caches(node: Node): readonly CacheEnds[] {
  const view = new Attention(node);
  return [keysIn(view), valuesIn(view)].flatMap(({ past, present }, i) => (past ? [{ operand: 4 + i, past, present }] : []));
}

export const attention: OperatorRecord = { op: Attention.schema.op, roles: ['attention'], heads, caches, up, down };
