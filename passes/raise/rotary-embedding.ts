import { int } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { integersOf } from '../../ir/constants.ts';
import type { Value } from '../../ir/graph.ts';
import { Add, Concat, Mul, Neg, RotaryEmbedding, Slice, Split, Transpose } from '../../ir/ops/generated.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { any, either, op, refuse, type Pattern } from '../../ir/pattern.ts';
import { rule, type RewriteRule } from '../../ir/rewrite.ts';
import { headsOf, toHeads, toTokens } from './attention/heads.ts';
import { fitted, sinkRepetition, tableOf, turnRepetition } from './rotary-tables.ts';

/** A part of `x` along an axis. */
const upper: Pattern<{ readonly x: Value; readonly high: Value }> = {
  match: (v, into) => isCut(v) && any('x').match(v!.producer!.input(0), into) && any('high').match(v, into),
};
const isCut = (v: Value | null): boolean => viewAs(Slice, v?.producer ?? null) !== null || viewAs(Split, v?.producer ?? null) !== null;

// What turns is matched first, because it says which operand of the other product is x.
const turned = op(Concat, 'turned', { inputs: op(Neg, 'minus', { x: upper }) });
const across = either(Mul, 'across', { a: turned, b: any('sin') }, { a: any('sin'), b: turned });
const along = either(Mul, 'along', { a: any('x'), b: any('cos') }, { a: any('cos'), b: any('x') });

/** x cos + Concat(-high, low) sin on heads, x being Concat(low, high) = RotaryEmbedding(x, cos, sin). */
const byHalves = rule(
  'raise-rotary-embedding',
  either(Add, 'sum', { a: across, b: along }, { b: across, a: along }),
  ({ sum, x, high, turned, cos, sin }, build) => {
    const [low, ...others] = turned.inputs.slice(1);
    if (!low || others.length > 0) return 'no-match';
    const shape = x.type?.shape;
    const width = shape?.at(-1);
    if (!shape || !headsOf(x) || typeof width !== 'number') return refuse('what is rotated is not known to have heads', x);
    const halves = isPart(low, x, 'first', width / 2) && isPart(high, x, 'last', width / 2);
    if (!halves || !isLast(turned.axis, 4))
      return refuse('what is turned is not known to be the two halves of a head', turned.concat_result);
    const tables = [cos, sin].map((v) => tableOf(v, width));
    const unknown = tables.indexOf(null);
    if (unknown >= 0) return refuse('the angles are not known to be the same for both halves of a head', [cos, sin][unknown]);
    if (tables.some((table) => table!.type!.dtype !== x.type!.dtype)) return refuse('it has another element type than the angles', x);
    // A product broadcasts both ways, RotaryEmbedding neither.
    const more = (table: Value | null): boolean => [0, 1].some((i) => shape[2 * i] === 1 && table!.type!.shape![i] !== 1);
    if (tables.some(more)) return refuse('there are angles for more tokens than are rotated', x);
    rotate(build, spanOf(x, sum.c, width), tables as readonly Value[], sum.node.name);
  },
);

const isLast = (axis: number, rank: number): boolean => axis === -1 || axis === rank - 1;

/** Whether `v` is the first or the last `width` channels of `x`. */
function isPart(v: Value, x: Value, which: 'first' | 'last', width: number): boolean {
  const [slice, split] = [viewAs(Slice, v.producer), viewAs(Split, v.producer)];
  const rank = x.type?.shape?.length ?? 0;
  const channels = x.type?.shape?.at(-1);
  if (v.type?.shape?.at(-1) !== width || typeof channels !== 'number') return false;
  if (split)
    return split.input === x && isLast(split.axis, rank) && split.outputs.length === 2 && split.outputs[which === 'first' ? 0 : 1] === v;
  const [start, end, axis, step] = [slice?.starts, slice?.ends, slice?.axes, slice?.steps].map((at) => integersOf(at ?? null)?.[0]);
  if (slice?.data !== x || axis === undefined || !isLast(axis, rank) || (slice.steps !== null && step !== 1)) return false;
  // One end is enough where the length is known: the other one is often computed.
  return slice.axes?.constant?.shape[0] === 1 && (which === 'first' ? start === 0 : end !== undefined && end >= channels);
}

/** What is rotated, in the first `dim` channels of each head, and what that gives. */
interface Span {
  readonly x: Value;
  readonly result: Value;
  readonly dim: number;
}

/** Where the first channels of each head are rotated and joined with the others, all of it. */
function spanOf(x: Value, result: Value, dim: number): Span {
  const source = isCut(x) ? x.producer!.input(0)! : null;
  const channels = source?.type?.shape?.at(-1);
  const concat = viewAs(Concat, result.soleUse?.node ?? null);
  const [first, rest, ...more] = concat?.inputs ?? [];
  const joined =
    source && concat && rest && first === result && more.length === 0 && isLast(concat.axis, 4) && typeof channels === 'number';
  const whole = joined && isPart(x, source, 'first', dim) && isPart(rest, source, 'last', channels - dim);
  return whole ? { x: source, result: concat.concat_result, dim } : { x, result, dim };
}

function rotate(build: Builder, { x, result, dim }: Span, tables: readonly Value[], name: string): void {
  const { heads, width } = headsOf(x)!;
  const [cos, sin] = fitted(build, tables, x, [0, 2]);
  const attributes = { num_heads: int(heads), ...(dim === width ? {} : { rotary_embedding_dim: int(dim) }) };
  const y = build.make(RotaryEmbedding, { x, cos_cache: cos!, sin_cache: sin! }, { attributes, like: result, type: x.type, name }).y;
  build.graph.replace(result, y);
}

/** RotaryEmbedding on heads that were turned to the front = the same on [batch, seq, heads * width], as it feeds an attention without positions. */
const ofTokens: RewriteRule = {
  name: 'rotate-tokens',
  apply(node, graph) {
    const rotary = viewAs(RotaryEmbedding, node);
    const heads = headsOf(rotary?.x);
    if (!rotary || !heads || viewAs(Transpose, rotary.x.producer)?.perm?.join() !== '0,2,1,3') return 'no-match';
    const build = Builder.before(node);
    const x = toTokens(build, rotary.x);
    const inputs = node.operands.map(({ value }, i) => (i === 0 ? x : value));
    // On tokens, the heads must be told.
    const attributes = { ...Object.fromEntries(node.attributes), num_heads: int(heads.heads) };
    const y = build.node(node.op, inputs, { attributes, like: rotary.y, type: x.type, name: node.name }).output;
    graph.replace(rotary.y, toHeads(build, y, heads.heads));
    return 'applied';
  },
};

/** Spellings of RotaryEmbedding. */
export const rotaryEmbeddings: readonly RewriteRule[] = [turnRepetition, sinkRepetition, byHalves, ofTokens];
