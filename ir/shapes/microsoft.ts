import {
  Attention,
  BiasGelu,
  EmbedLayerNormalization,
  FastGelu,
  FusedGemm,
  FusedMatMul,
  Gelu,
  GroupQueryAttention,
  MatMulNBits,
  MultiHeadAttention,
  QuickGelu,
  RelativePositionBias,
  RotaryEmbedding,
  SimplifiedLayerNormalization,
  SkipLayerNormalization,
  SkipSimplifiedLayerNormalization,
} from '../ops/microsoft.ts';
import { tensorType, type Dim } from '../types.ts';
import { broadcast, divide, multiply, plus } from './dims.ts';
import { dtypeOf, gemm, likeFirst, norm, shapeOf, typed, type Inferred, type Rule } from './rule.ts';

/** The axes of a matrix of FusedMatMul as it multiplies: the first axis may go behind the batch, then the last two change places. */
export function fusedAxes(rank: number, batchTurned: boolean, turned: boolean): readonly number[] {
  const axes = [...Array(rank).keys()];
  const behind = batchTurned && rank > 2 ? [...axes.slice(1, -1), 0, rank - 1] : axes;
  return turned ? [...behind.slice(0, -2), behind.at(-1)!, behind.at(-2)!] : behind;
}

const fusedMatMul: Rule = (node, known) => {
  const view = new FusedMatMul(node);
  const [a, b] = [shapeOf(node, 0, known), shapeOf(node, 1, known)];
  const ranked = a && b && a.length >= 2 && b.length >= 2;
  if (!ranked) return [{ type: typed(dtypeOf(node, 0, known), null) }];
  const left = fusedAxes(a.length, view.transBatchA !== 0, view.transA !== 0).map((i) => a[i]!);
  const right = fusedAxes(b.length, view.transBatchB !== 0, view.transB !== 0).map((i) => b[i]!);
  const shape = [...broadcast(left.slice(0, -2), right.slice(0, -2)), left.at(-2)!, right.at(-1)!];
  return [{ type: typed(dtypeOf(node, 0, known), shape) }];
};

const matMulNBits: Rule = (node, known) => {
  const x = shapeOf(node, 0, known);
  return [{ type: typed(dtypeOf(node, 0, known), x && [...x.slice(0, -1), new MatMulNBits(node).N]) }];
};

/** The norm of a sum gives the sum too, as its fourth result. */
const skipNorm: Rule = (node, known) => [...norm(node, known), { type: known.type(node.input(0)) }];

const embedding: Rule = (node, known) => {
  const [ids, words] = [shapeOf(node, 0, known), known.type(node.input(2))];
  const type = typed(words?.dtype ?? null, ids && words?.shape ? [...ids, words.shape[1]!] : null);
  return [{ type }, { type: tensorType('i32', ids ? [ids[0]!] : [null]) }, { type }];
};

/** Of a table [buckets, heads], for a number of queries and a number of keys: [1, heads, queries, keys]. */
const relativePositionBias: Rule = (node, known) => {
  const table = known.type(node.input(0));
  const [queries, keys] = [known.contents(node.input(1)), known.contents(node.input(2))];
  return [{ type: typed(table?.dtype ?? null, [1, table?.shape?.[1] ?? null, queries?.[0] ?? null, keys?.[0] ?? null]) }];
};

/** Keys and values in a cache: of `heads` heads, what was there and what is new. */
const cached = (batch: Dim, heads: number, past: Dim, fresh: Dim, width: Dim): readonly Dim[] => [batch, heads, plus(past, fresh), width];

/** With packed weights [in, q + k + v]. The cache holds keys and values, one behind the other. */
const packedAttention: Rule = (node, known) => {
  const view = new Attention(node);
  const [x, weight, bias] = [known.type(node.input(0)), shapeOf(node, 1, known), shapeOf(node, 2, known)];
  const channels = view.qkv_hidden_sizes?.[2] ?? divide(weight?.[1] ?? bias?.[0] ?? null, 3);
  const [batch = null, tokens = null] = x?.shape ?? [];
  const past = view.past ? (known.type(view.past)?.shape?.[3] ?? null) : 0;
  const total = view.past_present_share_buffer ? past : plus(past, tokens);
  return [
    { type: typed(x?.dtype ?? null, [batch, tokens, channels]) },
    { type: typed(x?.dtype ?? null, [2, batch, view.num_heads, total, divide(channels, view.num_heads)]) },
  ];
};

const multiHeadAttention: Rule = (node, known) => {
  const view = new MultiHeadAttention(node);
  const heads = view.num_heads;
  const [q, k, v] = [0, 1, 2].map((i) => shapeOf(node, i, known));
  const [batch = null, tokens = null] = q ?? [];
  // Queries, keys and values in one are [batch, seq, heads, 3, width]; keys and values in one, [batch, seq, heads, 2, width].
  const width = q?.length === 5 ? q[4]! : divide(q?.[2] ?? null, heads);
  const inHeads = v?.length === 4;
  const valueWidth = v ? (inHeads ? v[3]! : divide(v[2]!, heads)) : width;
  const fresh = k ? (k.length === 4 ? k[2]! : k[1]!) : tokens;
  const past = view.past_key ? (known.type(view.past_key)?.shape?.[2] ?? null) : 0;
  const typedAs = (shape: readonly Dim[]) => ({ type: typed(dtypeOf(node, 0, known), shape) });
  return [
    typedAs([batch, tokens, multiply(valueWidth, heads)]),
    typedAs(cached(batch, heads, past, fresh, width)),
    typedAs(cached(batch, heads, past, fresh, valueWidth)),
    typedAs([batch, heads, tokens, plus(past, fresh)]),
  ];
};

/** Queries, keys and values may be one value, [batch, seq, (heads + 2 key heads) * width]. A cache may be longer than what is in it. */
const groupQueryAttention: Rule = (node, known) => {
  const view = new GroupQueryAttention(node);
  const [heads, keys] = [view.num_heads, view.kv_num_heads];
  const [batch = null, tokens = null, channels = null] = shapeOf(node, 0, known) ?? [];
  const width = divide(channels, view.key ? heads : heads + 2 * keys);
  const total = view.past_key ? null : tokens;
  const ofCache = (past: number): Inferred => {
    const dtype = dtypeOf(node, past, known) ?? dtypeOf(node, 0, known);
    return { type: typed(dtype, shapeOf(node, past, known)?.toSpliced(2, 1, null) ?? [batch, keys, total, width]) };
  };
  return [
    { type: typed(dtypeOf(node, 0, known), [batch, tokens, multiply(width, heads)]) },
    ofCache(3),
    ofCache(4),
    { type: typed(dtypeOf(node, 0, known), [batch, heads, tokens, total]) },
  ];
};

/** What is known of the results of ONNX Runtime's own operators. */
export const microsoftRules: Readonly<Record<string, Rule>> = Object.fromEntries(
  (
    [
      [Attention, packedAttention],
      [EmbedLayerNormalization, embedding],
      [FusedGemm, gemm],
      [FusedMatMul, fusedMatMul],
      [GroupQueryAttention, groupQueryAttention],
      [MatMulNBits, matMulNBits],
      [MultiHeadAttention, multiHeadAttention],
      [RelativePositionBias, relativePositionBias],
      [SimplifiedLayerNormalization, norm],
      ...[SkipLayerNormalization, SkipSimplifiedLayerNormalization].map((cls) => [cls, skipNorm] as const),
      ...[BiasGelu, FastGelu, Gelu, QuickGelu, RotaryEmbedding].map((cls) => [cls, likeFirst] as const),
    ] as const
  ).map(([cls, rule]) => [cls.schema.op, rule]),
);
