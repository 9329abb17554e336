import { float, int } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { Attention, MatMul, Softmax, Transpose } from '../../../ir/ops/generated.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import { isOutput, refuse, type Refusal } from '../../../ir/pattern.ts';
import type { RewriteRule } from '../../../ir/rewrite.ts';
import { multiply, sameShape } from '../../../ir/shapes/dims.ts';
import { tensorType, type TensorType } from '../../../ir/types.ts';
import { transposed } from '../layout.ts';
import { makerOf, readersOf } from '../neighbours.ts';
import { cacheOf, handOver, need, type Cached } from './cache.ts';
import { guardOf } from './guard.ts';
import { headsIn, headsOf, toHeads, toTokens, type Heads } from './heads.ts';
import { guardRefusal, maskOperand, unmasked, valueOf, wholeMask, type Mask } from './mask.ts';
import { unrepeated } from './repeat.ts';
import { factorOf, uncapped, unscaled, withoutFactors } from './scale.ts';

/** Softmax(cap(factor q k^T) + mask) v on heads = Attention on [batch, seq, heads * width], whose result is split into heads again. */
export const attention: RewriteRule = {
  name: 'raise-attention',
  apply(node, graph) {
    const softmax = viewAs(Softmax, node);
    if (!softmax) return 'no-match';
    const found = partsOf(softmax);
    if ('refused' in found) return found;
    raise(graph, found, node.name);
    return 'applied';
  },
};

interface Parts {
  /** The product with the values, whose result is [batch, heads, seq, width]. */
  readonly context: Node;
  /** As the products read them, with their factors. */
  readonly query: Value;
  readonly key: Key;
  readonly value: Value;
  readonly masks: readonly Mask[];
  readonly guarded: boolean;
  readonly factor: number;
  readonly cap: number;
}

function partsOf(softmax: Softmax): Parts | Refusal {
  const guarded = guardOf(softmax.output);
  const probabilities = guarded ?? softmax.output;
  const context = sole(probabilities, MatMul.schema.op);
  if (!context || context.input(0) !== probabilities)
    return refuse(`the softmax feeds ${readersOf(probabilities)} instead of one product with the values`, probabilities);
  const rank = softmax.input.type?.shape?.length;
  if (softmax.axis !== -1 && softmax.axis !== (rank ?? 4) - 1) return refuse('the softmax is not over the keys', softmax.output);
  const { scores, masks } = unmasked(softmax.input);
  const { value: product, factor, cap } = uncapped(scores);
  const { a: query, b: turned } = viewAs(MatMul, product.producer) ?? {};
  if (!query || !turned) return refuse(`the scores come from ${makerOf(product)} instead of a product of query and key`, product);
  // A mask that has tokens of its own would broaden the scores.
  if (!sameShape(product.type?.shape, softmax.output.type?.shape))
    return refuse(`the scores are ${shapeOf(product)}, and ${shapeOf(softmax.output)} with the mask`, softmax.output);
  const [key, value] = [keyOf(turned), unrepeated(context.input(1)!)];
  const refused = mismatch(query, key, value) ?? (guarded ? guardRefusal(masks) : null);
  return refused ?? { context, query, key, value, masks, guarded: guarded !== null, factor: factor * key.factor, cap };
}

function raise(graph: Graph, parts: Parts, name: string): void {
  const { context, query, key, value, masks, guarded, factor, cap } = parts;
  const build = Builder.before(context);
  const { heads, batch, seq } = headsOf(query)!;
  const shared = headsOf(value)!;
  const caches = cachesOf(parts);
  const keys = caches?.key.fresh ?? withoutFactors(key.value);
  const keys4 = key.turned ? keys : transposed(build, keys, [0, 1, 3, 2], key.value, key.type);
  const [q, k, v] = [withoutFactors(query), keys4, caches?.value.fresh ?? value].map((x) => toTokens(build, x)) as [Value, Value, Value];
  const attn_mask = wholeMask(build, maskOperand(build, masks, guarded), q, caches ? null : k);
  const pasts = caches ? [caches.key.past, caches.value.past] : [];
  const presents = caches ? [caches.key.present, caches.value.present] : [];
  const inputs = [q, k, v, ...(attn_mask || caches ? [attn_mask] : []), ...pasts];
  const attributes = {
    q_num_heads: int(heads),
    kv_num_heads: int(shared.heads),
    scale: float(factor * factorOf(query) * (caches ? 1 : factorOf(key.value))),
    ...(cap === 0 ? {} : { softcap: float(cap) }),
  };
  const type = tensorType(q.type!.dtype, [batch, seq, multiply(heads, shared.width)]);
  const given = presents.map((like) => ({ name: graph.freshName(`${like.name}.present`), type: like.type }));
  const results = [{ name: graph.freshName(context.output.name), type }, ...given];
  const node = build.insert({ op: Attention.schema.op, inputs, attributes, name, results });
  presents.forEach((present, i) => handOver(graph, present, node.outputs[i + 1]!, node));
  graph.replace(context.output, toHeads(build, node.output, heads));
}

/**
 * The caches of keys and values, where both have one that nothing else in front of the attention needs. A mask may be made of them: then the
 * operator cannot make what its own operand is made of, and reads keys and values of all tokens.
 */
function cachesOf({ query, key, value, masks }: Parts): { readonly key: Cached; readonly value: Cached } | null {
  const [k, v] = [key.turned ? cacheOf(key.value) : null, cacheOf(value)];
  if (!k || !v) return null;
  const joins = new Set([k.present.producer!, v.present.producer!]);
  const others = [query, k.past, k.fresh, v.past, v.fresh, ...masks.map(valueOf)];
  return need(others, joins) ? null : { key: k, value: v };
}

/** The keys behind the Transpose and the repetition that the product reads; they are turned back where there is no Transpose. */
interface Key {
  readonly value: Value;
  /** [batch, heads, seq, width]. */
  readonly type: TensorType | null;
  readonly turned: boolean;
  /** What was taken off on the way to `value`. */
  readonly factor: number;
}

function keyOf(v: Value): Key {
  const { value, factor } = unscaled(v);
  const turn = viewAs(Transpose, value.producer);
  if (turn?.perm?.join() === '0,1,3,2') {
    const inner = unscaled(turn.data);
    const once = unrepeated(inner.value);
    return { value: once, type: once.type, turned: true, factor: factor * inner.factor };
  }
  const { dtype, shape } = value.type ?? {};
  const type =
    dtype && shape?.length === 4
      ? tensorType(
          dtype,
          [0, 1, 3, 2].map((i) => shape[i]!),
        )
      : null;
  return { value, type, turned: false, factor };
}

/** Why query, key and value are not those of an attention; null where they are. */
function mismatch(query: Value, key: Key, value: Value): Refusal | null {
  const [q, k, v] = [query.type, key.type, value.type].map(headsIn);
  if (!q || !k || !v) {
    const which = !q ? query : !k ? key.value : value;
    return refuse(`heads and their width are unknown in ${shapeOf(which)}`, which);
  }
  const why = unlike(q, k, v);
  return why === null ? null : refuse(why, key.value);
}

function unlike(q: Heads, k: Heads, v: Heads): string | null {
  if (k.heads !== v.heads || q.heads % k.heads !== 0 || q.width !== k.width)
    return `query, key and value have ${q.heads}, ${k.heads} and ${v.heads} heads of ${q.width} and ${k.width} channels`;
  if (k.seq === null || k.seq !== v.seq) return `there are ${k.seq ?? '?'} keys and ${v.seq ?? '?'} values`;
  if (q.batch === null || q.batch !== k.batch || k.batch !== v.batch)
    return `query, key and value are of ${q.batch ?? '?'}, ${k.batch ?? '?'} and ${v.batch ?? '?'} sequences`;
  return null;
}

/** The only reader of a value, if it is an `op` node. */
function sole(v: Value, op: string): Node | null {
  const use = v.soleUse;
  return use && use.node.op === op && !isOutput(v) ? use.node : null;
}

const shapeOf = (v: Value): string => {
  const shape = v.type?.shape;
  return shape ? `[${shape.map((d) => d ?? '?').join(', ')}]` : 'of an unknown shape';
};
