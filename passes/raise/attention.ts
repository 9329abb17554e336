import { float, int } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { integersOf, scalarOf } from '../../ir/constants.ts';
import type { Graph, Node, Value } from '../../ir/graph.ts';
import { Add, Attention, Concat, Div, Expand, MatMul, Mul, Reshape, Shape, Softmax, Transpose } from '../../ir/ops/generated.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { isOutput, refuse, type Refusal } from '../../ir/pattern.ts';
import type { RewriteRule } from '../../ir/rewrite.ts';
import { broadcast, sameShape } from '../../ir/shapes/dims.ts';
import { tensorType, type Dim } from '../../ir/types.ts';
import { splitOf } from './heads.ts';
import { makerOf, readersOf } from './neighbours.ts';

/** A value [batch, seq, heads * width] behind its split into heads, and the factor that was applied on the way. */
interface Heads {
  readonly source: Value;
  readonly heads: number;
  readonly width: number;
  readonly factor: number;
}

/** Softmax(factor q k^T + mask) v on heads = Attention(q, k, v, mask) on [batch, seq, heads * width]. */
export const attention: RewriteRule = {
  name: 'raise-attention',
  apply(node, graph) {
    const softmax = viewAs(Softmax, node);
    if (!softmax) return 'no-match';
    const context = sole(softmax.output, MatMul.schema.op);
    if (!context || context.input(0) !== softmax.output)
      return refuse(`the softmax feeds ${readersOf(softmax.output)} instead of one product with the values`, softmax.output);
    const found = operandsOf(softmax, context);
    if ('refused' in found) return found;
    const merged = mergedHeads(context.output, found.q.source.type!.shape!.slice(0, 2));
    if ('refused' in merged) return merged;
    raise(graph, merged, found, node.name);
    return 'applied';
  },
};

interface Operands {
  readonly q: Heads;
  readonly k: Heads;
  readonly v: Heads;
  readonly mask: Value | null;
  readonly factor: number;
}

function operandsOf(softmax: Softmax, context: Node): Operands | Refusal {
  const rank = softmax.input.type?.shape?.length;
  if (softmax.axis !== -1 && softmax.axis !== (rank ?? 4) - 1) return refuse('the softmax is not over the keys', softmax.output);
  const { scores, mask } = unmasked(softmax.input);
  const { value, factor } = unscaled(scores);
  const product = viewAs(MatMul, value.producer);
  if (!product) return refuse(`the scores come from ${makerOf(value)} instead of a product of query and key`, value);
  const q = splitHeads('query', product.a, [0, 2, 1, 3]);
  if ('refused' in q) return q;
  const k = splitHeads('key', product.b, [0, 2, 3, 1]);
  if ('refused' in k) return k;
  const v = splitHeads('value', context.input(1)!, [0, 2, 1, 3]);
  if ('refused' in v) return v;
  if (q.heads !== k.heads || k.heads !== v.heads || q.width !== k.width)
    return refuse(`query, key and value have ${q.heads}, ${k.heads} and ${v.heads} heads of ${q.width} and ${k.width} channels`, product.y);
  if (v.factor !== 1) return refuse('the values are scaled', context.input(1)!);
  return { q, k, v, mask, factor: factor * q.factor * k.factor };
}

function raise(graph: Graph, merged: Value, { q, k, v, mask, factor }: Operands, name: string): void {
  const build = Builder.before(merged.producer!);
  const attributes = { q_num_heads: int(q.heads), kv_num_heads: int(v.heads), scale: float(factor) };
  const type = tensorType(q.source.type!.dtype, [...q.source.type!.shape!.slice(0, 2), v.heads * v.width]);
  const attn_mask = mask && wholeMask(build, mask, q.source, k.source);
  const operands = { q: q.source, k: k.source, v: v.source, attn_mask };
  const made = build.make(Attention, operands, { attributes, like: merged, type, name });
  graph.replace(merged, made.y);
}

/** ONNX Runtime's Attention wants the last two extents of a mask written out, where an Add broadcasts them. */
function wholeMask(build: Builder, mask: Value, q: Value, k: Value): Value {
  const shape = mask.type?.shape;
  if (!shape || (shape.length > 1 && shape.at(-2) !== 1 && shape.at(-1) !== 1)) return mask;
  const tokens = (v: Value): Value =>
    build.make(Shape, { data: v }, { attributes: { start: int(1), end: int(2) }, like: v, type: tensorType('i64', [1]) }).shape;
  const extents = [tokens(q), tokens(k)] as const;
  const joined = { attributes: { axis: int(0) }, like: extents[0], type: tensorType('i64', [2]) };
  const target = build.make(Concat, { inputs: extents }, joined).concat_result;
  const type = tensorType(mask.type!.dtype, broadcast(shape, [q.type!.shape![1]!, k.type!.shape![1]!]));
  return build.make(Expand, { input: mask, shape: target }, { like: mask, type }).output;
}

/** The only reader of a value, if it is an `op` node. */
function sole(v: Value, op: string): Node | null {
  const use = v.soleUse;
  return use && use.node.op === op && !isOutput(v) ? use.node : null;
}

/** scores + mask, in either order: the mask is the operand that is not a product. */
function unmasked(v: Value): { readonly scores: Value; readonly mask: Value | null } {
  const add = viewAs(Add, v.producer);
  if (!add) return { scores: v, mask: null };
  const isScores = (x: Value) => unscaled(x).value.producer?.op === 'MatMul';
  if (isScores(add.a)) return { scores: add.a, mask: add.b };
  return isScores(add.b) ? { scores: add.b, mask: add.a } : { scores: v, mask: null };
}

/** Takes off factors: x * k, k * x, x / k. */
function unscaled(v: Value): { readonly value: Value; readonly factor: number } {
  const step = (x: Value): { readonly value: Value; readonly factor: number } | null => {
    const [mul, div] = [viewAs(Mul, x.producer), viewAs(Div, x.producer)];
    const [right, left] = [scalarOf(mul?.b ?? null), scalarOf(mul?.a ?? null)];
    if (mul && right !== null) return { value: mul.a, factor: right };
    if (mul && left !== null) return { value: mul.b, factor: left };
    const divisor = scalarOf(div?.b ?? null);
    return div && divisor !== null ? { value: div.a, factor: 1 / divisor } : null;
  };
  let at = { value: v, factor: 1 };
  for (let next = step(v); next; next = step(at.value)) at = { value: next.value, factor: at.factor * next.factor };
  return at;
}

/** Transpose(Reshape(x)) to heads, with factors anywhere on the way; `perm` is the transpose as a whole. */
function splitHeads(what: string, v: Value, perm: readonly number[]): Heads | Refusal {
  const outer = unscaled(v);
  const turned = untransposed(outer.value);
  const inner = unscaled(turned.value);
  const reshape = viewAs(Reshape, inner.value.producer);
  if (!reshape) return refuse(`${what} is not split by Reshape and Transpose, but comes from ${makerOf(inner.value)}`, inner.value);
  if (turned.perm.some((p, i) => p !== perm[i])) return refuse(`${what} is transposed by [${turned.perm.join(', ')}]`, outer.value);
  const source = unscaled(reshape.data);
  const [from, to] = [source.value.type?.shape, reshape.reshaped.type?.shape];
  if (!from || !to) return refuse(`the shape of the ${what} is unknown`, from ? reshape.reshaped : source.value);
  const split = splitOf(from, to);
  if (!split) return refuse(`${what} is reshaped from ${shapeText(from)} to ${shapeText(to)}`, reshape.reshaped);
  return { source: source.value, ...split, factor: outer.factor * inner.factor * source.factor };
}

const shapeText = (shape: readonly Dim[]): string => `[${shape.map((d) => d ?? '?').join(', ')}]`;

/** Follows transposes (and factors between them) up; `perm` is their composition. */
function untransposed(v: Value): { readonly value: Value; readonly perm: readonly number[] } {
  const transpose = viewAs(Transpose, v.producer);
  if (!transpose?.perm) return { value: v, perm: [0, 1, 2, 3] };
  const inner = untransposed(transpose.data);
  return { value: inner.value, perm: transpose.perm.map((p) => inner.perm[p]!) };
}

/** Reshape(Transpose[0, 2, 1, 3](context)) to [batch, seq, heads * width]: with batch and seq in place, only that product is left. */
function mergedHeads(context: Value, tokens: readonly Dim[]): Value | Refusal {
  const transpose = viewAs(Transpose, sole(context, Transpose.schema.op));
  if (!transpose) return refuse(`the heads are not merged by Transpose and Reshape, but read by ${readersOf(context)}`, context);
  const { transposed, perm } = transpose;
  if (perm?.join() !== '0,2,1,3') return refuse(`the heads are transposed by [${perm?.join(', ') ?? ''}]`, transposed);
  const reshape = viewAs(Reshape, sole(transposed, Reshape.schema.op));
  if (!reshape) return refuse(`the heads are not merged by Reshape, but read by ${readersOf(transposed)}`, transposed);
  const to = reshape.reshaped.type?.shape;
  const copies = integersOf(reshape.shape)?.slice(0, 2).join() === '0,0';
  if (to?.length === 3 && (copies || sameShape(to.slice(0, 2), tokens))) return reshape.reshaped;
  return refuse(
    `the heads are merged to ${to ? shapeText(to) : 'an unknown shape'}, the tokens are ${shapeText(tokens)}`,
    reshape.reshaped,
  );
}
