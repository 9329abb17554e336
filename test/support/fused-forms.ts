import { parseGraph, type Graph } from '../../ir/index.ts';
import type { Feeds, HostTensor } from '../../passes/index.ts';
import { i64, randomFeed } from './run.ts';

/** A small graph with one of ONNX Runtime's own operators, and inputs for it. */
export interface FusedForm {
  readonly name: string;
  readonly text: string;
  readonly feeds: Feeds;
}

export const openForm = ({ text }: FusedForm): Graph => parseGraph(text);

export const i32 = (shape: readonly number[], data: ArrayLike<number>): HostTensor => ({
  dtype: 'i32',
  shape,
  data: Int32Array.from(data),
});

const x = (...shape: readonly number[]): HostTensor => randomFeed(shape, shape.length + shape.at(-1)!, 2);

/** A graph around one node: `results = node`, where inputs are `name: type` and constants `name: type = data`. */
const around = (name: string, inputs: string, constants: string, node: string, outputs: string, feeds: Feeds): FusedForm => ({
  name,
  text: `graph @g(${inputs}) {\n${constants
    .split(';')
    .filter((c) => c.trim() !== '')
    .map((c) => `  const ${c.trim()}\n`)
    .join('')}  ${node}\n  return ${outputs}\n}`,
  feeds,
});

const gains = '%g: f32[8] = random 1; %b: f32[8] = random 2; %c: f32[8] = random 3';
const sum = { x: x(2, 3, 8), s: x(2, 3, 8) };
const norms = [
  around(
    'SkipLayerNormalization with everything',
    '%x: f32[B,S,8], %s: f32[B,S,8]',
    gains,
    '%y, _, _, %t = com.microsoft.SkipLayerNormalization(%x, %s, %g, %b, %c) {epsilon = 0.25}',
    '%y, %t',
    sum,
  ),
  around(
    'SkipLayerNormalization without a bias, a beta and an epsilon',
    '%x: f32[B,S,8], %s: f32[B,S,8]',
    gains,
    '%y = com.microsoft.SkipLayerNormalization(%x, %s, %g)',
    '%y',
    sum,
  ),
  around(
    'SkipLayerNormalization of one skip for all sequences',
    '%x: f32[B,S,8], %s: f32[S,8]',
    gains,
    '%y, _, _, %t = com.microsoft.SkipLayerNormalization(%x, %s, %g, %b)',
    '%y, %t',
    { x: x(2, 3, 8), s: x(3, 8) },
  ),
  around(
    'SkipSimplifiedLayerNormalization with a bias',
    '%x: f32[B,S,8], %s: f32[B,S,8]',
    gains,
    '%y, _, _, %t = com.microsoft.SkipSimplifiedLayerNormalization(%x, %s, %g, %c) {epsilon = 0.25}',
    '%y, %t',
    sum,
  ),
  around(
    'SkipSimplifiedLayerNormalization alone',
    '%x: f32[B,S,8], %s: f32[B,S,8]',
    gains,
    '%y = com.microsoft.SkipSimplifiedLayerNormalization(%x, %s, %g)',
    '%y',
    sum,
  ),
  around('SimplifiedLayerNormalization', '%x: f32[B,S,8]', gains, '%y = SimplifiedLayerNormalization(%x, %g)', '%y', { x: sum.x }),
] as const;

const ids = { ids: i32([2, 3], [1, 4, 0, 2, 2, 3]), types: i32([2, 3], [0, 1, 1, 0, 0, 1]), mask: i32([2, 3], [1, 1, 0, 1, 1, 1]) };
const tables =
  '%words: f32[5,8] = random 4; %places: f32[6,8] = random 5; %kinds: f32[2,8] = random 6; %g: f32[8] = random 7; %b: f32[8] = random 8';
const embeddings = [
  around(
    'EmbedLayerNormalization with everything',
    '%ids: i32[B,S], %types: i32[B,S], %mask: i32[B,S], %at: i32[B,S]',
    tables,
    '%y, %n, %e = com.microsoft.EmbedLayerNormalization(%ids, %types, %words, %places, %kinds, %g, %b, %mask, %at) {epsilon = 0.25}',
    '%y, %n, %e',
    { ...ids, at: i32([2, 3], [3, 4, 5, 0, 1, 1]) },
  ),
  around(
    'EmbedLayerNormalization of tokens alone',
    '%ids: i32[B,S]',
    tables,
    '%y, _ = com.microsoft.EmbedLayerNormalization(%ids, _, %words, %places, _, %g, %b)',
    '%y',
    { ids: ids.ids },
  ),
  around(
    'EmbedLayerNormalization with one row of positions',
    '%ids: i32[B,S], %at: i32[one,S]',
    tables,
    '%y, _ = com.microsoft.EmbedLayerNormalization(%ids, _, %words, %places, _, %g, %b, _, %at)',
    '%y',
    { ids: ids.ids, at: i32([1, 3], [2, 3, 4]) },
  ),
] as const;

const vector = '%v: f32[8] = random 9';
const gelus = [
  around('BiasGelu', '%x: f32[B,S,8]', vector, '%y = com.microsoft.BiasGelu(%x, %v)', '%y', { x: sum.x }),
  around('Gelu', '%x: f32[B,S,8]', vector, '%y = com.microsoft.Gelu(%x)', '%y', { x: sum.x }),
  around('FastGelu', '%x: f32[B,S,8]', vector, '%y = com.microsoft.FastGelu(%x)', '%y', { x: sum.x }),
  around('FastGelu with a bias', '%x: f32[B,S,8]', vector, '%y = com.microsoft.FastGelu(%x, %v)', '%y', { x: sum.x }),
  around('QuickGelu', '%x: f32[B,S,8]', vector, '%y = com.microsoft.QuickGelu(%x)', '%y', { x: sum.x }),
  around('QuickGelu with an alpha of 1', '%x: f32[B,S,8]', vector, '%y = com.microsoft.QuickGelu(%x) {alpha = 1.0}', '%y', { x: sum.x }),
] as const;

const products = [
  around(
    'FusedMatMul with a weight',
    '%x: f32[B,S,8]',
    '%w: f32[8,5] = random 10',
    '%y = com.microsoft.FusedMatMul(%x, %w) {alpha = 0.5}',
    '%y',
    { x: sum.x },
  ),
  around(
    'FusedMatMul with a weight that comes transposed',
    '%x: f32[B,S,8]',
    '%w: f32[5,8] = random 10',
    '%y = com.microsoft.FusedMatMul(%x, %w) {transB = 1}',
    '%y',
    { x: sum.x },
  ),
  around(
    'FusedMatMul of two values',
    '%q: f32[B,2,S,4], %k: f32[B,2,T,4]',
    '',
    '%y = com.microsoft.FusedMatMul(%q, %k) {alpha = 0.25, transB = 1}',
    '%y',
    { q: x(2, 2, 3, 4), k: x(2, 2, 5, 4) },
  ),
  around(
    'FusedMatMul with both turned',
    '%q: f32[B,2,4,S], %k: f32[B,2,T,4]',
    '',
    '%y = com.microsoft.FusedMatMul(%q, %k) {alpha = -2.0, transA = 1, transB = 1}',
    '%y',
    { q: x(2, 2, 4, 3), k: x(2, 2, 5, 4) },
  ),
  around(
    'FusedMatMul with turned batches',
    '%q: f32[S,B,2,4], %k: f32[T,B,2,4]',
    '',
    '%y = com.microsoft.FusedMatMul(%q, %k) {transB = 1, transBatchA = 1, transBatchB = 1}',
    '%y',
    { q: x(3, 2, 2, 4), k: x(5, 2, 2, 4) },
  ),
  ...['Relu', 'LeakyRelu', 'Sigmoid', 'Tanh'].map((activation) =>
    around(
      `FusedGemm with ${activation}`,
      '%x: f32[N,8]',
      '%w: f32[5,8] = random 10; %d: f32[5] = random 11',
      `%y = com.microsoft.FusedGemm(%x, %w, %d) {activation = "${activation}", activation_alpha = 0.25, alpha = 0.5, beta = 2.0, transB = 1}`,
      '%y',
      { x: x(4, 8) },
    ),
  ),
];

const angles = '%cos: f32[12,4] = random 12; %sin: f32[12,4] = random 13';
const halfAngles = '%cos: f32[12,2] = random 12; %sin: f32[12,2] = random 13';
const rotations = [
  around(
    'RotaryEmbedding with positions of each token',
    '%x: f32[B,S,16], %at: i64[B,S]',
    angles,
    '%y = com.microsoft.RotaryEmbedding(%x, %at, %cos, %sin)',
    '%y',
    { x: x(2, 3, 16), at: i64([2, 3], [3, 4, 5, 0, 1, 2]) },
  ),
  around(
    'RotaryEmbedding with one first position',
    '%x: f32[B,S,16], %at: i64[1]',
    angles,
    '%y = com.microsoft.RotaryEmbedding(%x, %at, %cos, %sin)',
    '%y',
    { x: x(2, 3, 16), at: i64([1], [4]) },
  ),
  around(
    'RotaryEmbedding of heads',
    '%x: f32[B,2,S,8], %at: i64[B,S]',
    angles,
    '%y = com.microsoft.RotaryEmbedding(%x, %at, %cos, %sin) {interleaved = 1}',
    '%y',
    { x: x(2, 2, 3, 8), at: i64([2, 3], [3, 4, 5, 0, 1, 2]) },
  ),
  around(
    'RotaryEmbedding of a part of each head',
    '%x: f32[B,S,16], %at: i64[B,S]',
    halfAngles,
    '%y = com.microsoft.RotaryEmbedding(%x, %at, %cos, %sin) {num_heads = 2, rotary_embedding_dim = 4}',
    '%y',
    { x: x(2, 3, 16), at: i64([2, 3], [3, 4, 5, 0, 1, 2]) },
  ),
] as const;

const packed = '%w: f32[6,24] = random 14; %d: f32[24] = random 15';
const token = { x: x(2, 4, 6) };
const attention = (name: string, inputs: string, operands: string, attributes: string, feeds: Feeds, outputs = '%y'): FusedForm =>
  around(
    `Attention ${name}`,
    `%x: f32[B,S,6]${inputs}`,
    packed,
    `${outputs} = com.microsoft.Attention(%x, %w${operands}) {num_heads = 2${attributes}}`,
    outputs,
    { ...token, ...feeds },
  );
const attentions = [
  attention('alone', '', ', %d', '', {}),
  attention('causal', '', ', %d', ', unidirectional = 1, scale = 0.3', {}),
  attention('with lengths', ', %m: i32[B]', ', %d, %m', '', { m: i32([2], [3, 4]) }),
  attention('with lengths and causal', ', %m: i32[B]', ', %d, %m', ', unidirectional = 1, mask_filter_value = -5.0', {
    m: i32([2], [3, 4]),
  }),
  attention('with ends and starts', ', %m: i32["2*B"]', ', %d, %m', '', { m: i32([4], [3, 4, 1, 0]) }),
  attention('with padding', ', %m: i32[B,S]', ', %d, %m', '', { m: i32([2, 4], [0, 1, 1, 1, 1, 1, 1, 0]) }),
  attention('with a mask for each query', ', %m: i32[B,S,S]', ', %d, %m', '', {
    m: i32(
      [2, 4, 4],
      Array.from({ length: 32 }, (_, i) => Number(i % 3 !== 1)),
    ),
  }),
  attention('with a bias of scores', ', %m: i32[B,S], %a: f32[1,2,S,S]', ', %d, %m, _, %a', '', {
    m: i32([2, 4], [0, 1, 1, 1, 1, 1, 1, 0]),
    a: x(1, 2, 4, 4),
  }),
  attention('with other widths of values', '', ', %d', ', qkv_hidden_sizes = [8, 8, 8]', {}),
  attention('with a cache', ', %p: f32[2,B,2,P,4]', ', %d, _, %p', ', unidirectional = 1', { p: x(2, 2, 2, 3, 4) }, '%y, %t'),
];

const parts = '%d: f32[24] = random 15';
const qkv = { q: x(2, 3, 8), k: x(2, 5, 8), v: x(2, 5, 8) };
const multiHead = (name: string, inputs: string, operands: string, attributes: string, feeds: Feeds, outputs = '%y'): FusedForm =>
  around(
    `MultiHeadAttention ${name}`,
    `%q: f32[B,S,8], %k: f32[B,L,8], %v: f32[B,L,8]${inputs}`,
    parts,
    `${outputs} = com.microsoft.MultiHeadAttention(%q, %k, %v${operands}) {num_heads = 2${attributes}}`,
    outputs,
    { ...qkv, ...feeds },
  );
const same = { k: x(2, 3, 8), v: x(2, 3, 8) };
const multiHeads = [
  multiHead('alone', '', '', ', scale = 0.3', {}),
  multiHead('with a bias', '', ', %d', '', {}),
  multiHead('with lengths', ', %m: i32[B]', ', %d, %m', '', { m: i32([2], [3, 5]) }),
  multiHead('with padding', ', %m: i32[B,L]', ', _, %m', '', { m: i32([2, 5], [0, 1, 1, 1, 1, 1, 1, 0, 0, 0]) }),
  multiHead('with a bias of scores', ', %a: f32[1,2,S,L]', ', %d, _, %a', '', { a: x(1, 2, 3, 5) }),
  multiHead(
    'causal with a cache',
    ', %pk: f32[B,2,P,4], %pv: f32[B,2,P,4]',
    ', _, _, _, %pk, %pv',
    ', unidirectional = 1',
    { ...same, pk: x(2, 2, 4, 4), pv: x(2, 2, 4, 4) },
    '%y, %tk, %tv',
  ),
];

const grouped = (name: string, batch: number, past: number, tokens: number, operands: string, attributes: string): FusedForm =>
  around(
    `GroupQueryAttention ${name}`,
    `%qkv: f32[B,S,128], %q: f32[B,S,64], %k: f32[B,S,32], %v: f32[B,S,32], %pk: f32[B,2,P,16], %pv: f32[B,2,P,16],
     %n: i32[B], %t: i32[]`,
    '%cos: f32[12,8] = random 12; %sin: f32[12,8] = random 13',
    `%y, %tk, %tv = com.microsoft.GroupQueryAttention(${operands}) {num_heads = 4, kv_num_heads = 2${attributes}}`,
    '%y, %tk, %tv',
    {
      qkv: x(batch, tokens, 128),
      q: x(batch, tokens, 64),
      k: x(batch, tokens, 32),
      v: x(batch, tokens, 32),
      pk: x(batch, 2, past, 16),
      pv: x(batch, 2, past, 16),
      n: i32([batch], new Array<number>(batch).fill(past + tokens - 1)),
      t: i32([], [past + tokens]),
    },
  );
const one = '%qkv, _, _, %pk, %pv, %n, %t';
const three = '%q, %k, %v, %pk, %pv, %n, %t';
const groups = [
  grouped('of a prompt', 2, 0, 5, `${three}, %cos, %sin`, ', do_rotary = 1, scale = 0.3'),
  grouped('of one more token', 2, 4, 1, `${three}, %cos, %sin`, ', do_rotary = 1'),
  grouped('of more tokens', 1, 4, 3, `${three}, %cos, %sin`, ', do_rotary = 1, rotary_interleaved = 1'),
  grouped('in one value', 2, 4, 1, `${one}, %cos, %sin`, ', do_rotary = 1'),
  grouped('without positions', 1, 4, 2, one, ', softcap = 3.0'),
  grouped('that sees no further than a window', 1, 4, 4, three, ', local_window_size = 3'),
  grouped('of a prompt that is longer than a window', 2, 0, 6, three, ', local_window_size = 3'),
  grouped('without a cache', 2, 0, 5, '%q, %k, %v, _, _, %n, %t', ''),
];

/** Every form of the operators of ONNX Runtime that `qc` knows. */
export const fusedForms: readonly FusedForm[] = [
  ...norms,
  ...embeddings,
  ...gelus,
  ...products,
  ...rotations,
  ...attentions,
  ...multiHeads,
  ...groups,
];
