import { int } from '../../../ir/attributes.ts';
import type { Builder } from '../../../ir/builder.ts';
import { scalarOf } from '../../../ir/constants.ts';
import type { Value } from '../../../ir/graph.ts';
import { Add, Concat, Expand, MatMul, Shape, Where } from '../../../ir/ops/generated.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import { refuse, type Refusal } from '../../../ir/pattern.ts';
import { broadcast } from '../../../ir/shapes/dims.ts';
import { floats } from '../../../ir/tensor.ts';
import { isFloat, tensorType } from '../../../ir/types.ts';
import { uncapped } from './scale.ts';

/** What a softmax of scores hides: an addend, or scores that are replaced by a number where a condition holds, or does not hold. */
export type Mask =
  | { readonly addend: Value }
  | { readonly condition: Value; readonly hides: boolean; readonly by: number; readonly like: Value };

export interface Masked {
  readonly scores: Value;
  /** From the inside out. */
  readonly masks: readonly Mask[];
}

/** The masks around scores, each of which is the one operand that does not come from a product of query and key. */
export function unmasked(v: Value): Masked {
  const add = viewAs(Add, v.producer);
  if (add && leadsToScores(add.a)) return outside(add.a, { addend: add.b });
  if (add && leadsToScores(add.b)) return outside(add.b, { addend: add.a });
  const where = viewAs(Where, v.producer);
  const [x, y] = [scalarOf(where?.x ?? null), scalarOf(where?.y ?? null)];
  if (where && x !== null && hidesAll(x))
    return outside(where.y, { condition: unspread(where.condition, where.y), hides: true, by: x, like: v });
  if (where && y !== null && hidesAll(y))
    return outside(where.x, { condition: unspread(where.condition, where.x), hides: false, by: y, like: v });
  return { scores: v, masks: [] };
}

/** A mask before it was spread to the shape of the scores, for which they would have to be there. */
function unspread(mask: Value, scores: Value): Value {
  const expand = viewAs(Expand, mask.producer);
  return expand && viewAs(Shape, expand.shape.producer)?.data === scores ? expand.input : mask;
}

function outside(v: Value, mask: Mask): Masked {
  const { scores, masks } = unmasked(v);
  return { scores, masks: [...masks, mask] };
}

/** Whether s + x is x for all scores s of less than 2^100, because f32 has 24 bits. */
const hidesAll = (x: number): boolean => x < -(2 ** 125);

function leadsToScores(v: Value): boolean {
  const { scores } = unmasked(v);
  const product = viewAs(MatMul, uncapped(scores).value.producer);
  return product !== null && product.b.constant === null;
}

/**
 * Why a guard against NaN cannot go: Attention gives 0 to a token that sees no key where its mask is bool, and a mask of finite numbers hides
 * nothing as a whole, because the softmax of finite scores is finite. Null where it can.
 */
export function guardRefusal(masks: readonly Mask[]): Refusal | null {
  const [mask, ...more] = masks;
  if (!mask || (more.length === 0 && (hidesByBool(mask) || ('addend' in mask ? isFinite(mask.addend) : mask.by > -Infinity)))) return null;
  // The sum of two finite masks may be -inf.
  const why = more.length > 0 ? 'several masks' : 'a mask that is neither bool nor known to be finite';
  return refuse(`a softmax that gives 0 for NaN has ${why}`, valueOf(mask));
}

/** What a mask is made of. */
export const valueOf = (mask: Mask): Value => ('addend' in mask ? mask.addend : mask.condition);

/** The masks as one operand of Attention; null if there are none. */
export function maskOperand(build: Builder, masks: readonly Mask[], guarded: boolean): Value | null {
  const [first, ...rest] = masks;
  if (!first) return null;
  if (guarded && rest.length === 0 && hidesByBool(first)) return visible(build, first);
  return masks.map((m) => addendOf(build, m)).reduce((a, b) => sum(build, a, b));
}

function sum(build: Builder, a: Value, b: Value): Value {
  const [x, y] = [a.type?.shape, b.type?.shape];
  return build.make(Add, { a, b }, { like: b, type: x && y ? tensorType(b.type!.dtype, broadcast(x, y)) : null }).c;
}

function addendOf(build: Builder, mask: Mask): Value {
  if ('addend' in mask) return mask.addend;
  const { condition, hides, by, like } = mask;
  const [hidden, seen] = [build.scalar('hidden', by), build.scalar('seen', 0)];
  const operands = { condition, x: hides ? hidden : seen, y: hides ? seen : hidden };
  return build.make(Where, operands, { like, type: tensorType('f32', condition.type?.shape ?? null) }).output;
}

/** Whether a mask adds -inf, or nothing. */
function hidesByBool(mask: Mask): boolean {
  if (!('addend' in mask)) return mask.by === -Infinity;
  const where = viewAs(Where, mask.addend.producer);
  return where !== null && scalarOf(where.x) === 0 && scalarOf(where.y) === -Infinity;
}

/** Which keys a token sees, bool. */
function visible(build: Builder, mask: Mask): Value {
  if ('addend' in mask) return viewAs(Where, mask.addend.producer)!.condition;
  return mask.hides ? build.node('Not', [mask.condition], { like: mask.condition }).output : mask.condition;
}

const moves: ReadonlySet<string> = new Set(['Expand', 'Slice', 'Reshape', 'Unsqueeze', 'Squeeze', 'Transpose', 'Gather', 'Trilu']);

/** Whether a mask is known to hold finite numbers alone: then a softmax of finite scores gives no NaN, and a guard against it does nothing. */
function isFinite(v: Value): boolean {
  const node = v.producer;
  if (v.constant) return floats(v.constant).every(Number.isFinite);
  if (!node) return false;
  if (node.op === 'Where') return [1, 2].every((i) => isFinite(node.input(i)!));
  if (node.op === 'ScatterND') return [0, 2].every((i) => isFinite(node.input(i)!));
  if (node.op === 'Cast') return !isFloat(node.input(0)?.type?.dtype ?? 'f32');
  return moves.has(node.op) && isFinite(node.input(0)!);
}

/**
 * ONNX Runtime's Attention wants the last two extents of a mask written out, where an Add broadcasts them. `k` is null where the keys are those
 * of a cache, too: then a mask has an extent of its own for them.
 */
export function wholeMask(build: Builder, mask: Value | null, q: Value, k: Value | null): Value | null {
  const shape = mask?.type?.shape;
  if (!mask || !shape || (shape.length > 1 && shape.at(-2) !== 1 && shape.at(-1) !== 1)) return mask;
  const tokens = (v: Value): Value =>
    build.make(Shape, { data: v }, { attributes: { start: int(1), end: int(2) }, like: v, type: tensorType('i64', [1]) }).shape;
  const extents = [tokens(q), k ? tokens(k) : build.ints('one', [1])] as const;
  const joined = { attributes: { axis: int(0) }, like: extents[0], type: tensorType('i64', [2]) };
  const target = build.make(Concat, { inputs: extents }, joined).concat_result;
  const type = tensorType(mask.type!.dtype, broadcast(shape, [q.type!.shape![1]!, k?.type?.shape?.[1] ?? 1]));
  return build.make(Expand, { input: mask, shape: target }, { like: mask, type }).output;
}
