import { int } from './attributes.ts';
import { scalarOf } from './constants.ts';
import type { Value } from './graph.ts';
import { Add, And, Cast, Greater, LessOrEqual, Max, Range, Squeeze, Sub, Unsqueeze, Where } from './ops/generated.ts';
import { viewAs } from './ops/view.ts';
import type { SharedBuilder } from './shared.ts';
import { int64s, scalar } from './tensor.ts';
import { dtypes, tensorType, type Dim } from './types.ts';

/** How long sequences are with what a cache holds of them. */
export interface SequenceLengths {
  /** i32 [batch]: the position of the last token of each sequence. */
  readonly last: Value;
  /** i32, one element: tokens of the longest sequence. */
  readonly total: Value;
}

/** The least f32: what a score must not be higher than where a key is hidden. */
export const lowest = -3.4028234663852886e38;

const i64 = (...shape: readonly Dim[]) => tensorType('i64', shape);
const toI64 = { to: int(dtypes.indexOf('i64') + 1) };

/**
 * The positions of the tokens of `x` [batch, seq, ..], i64 [batch, seq]: the last ones of each sequence, but 0 to seq - 1 where a sequence
 * has fewer tokens than go in, because a prompt is filled up behind.
 *
 *     position[b, i] = max(last[b] - (seq - 1), 0) + i
 */
export function tokenPositions(make: SharedBuilder, last: Value, x: Value): Value {
  const [batch, tokens] = [x.type!.shape![0]!, x.type!.shape![1]!];
  const axis = make.ints('axis', [1]);
  const column = make.value(Unsqueeze.schema.op, [make.value(Cast.schema.op, [last], toI64, i64(batch)), axis], {}, i64(batch, 1));
  const extent = make.extent(x, 1);
  const before = make.value(Sub.schema.op, [extent, make.ints('one', [1])], {}, i64(1));
  const start = make.value(Sub.schema.op, [column, before], {}, i64(batch, 1));
  const first = make.value(Max.schema.op, [start, make.ints('zero', [0])], {}, i64(batch, 1));
  return make.value(Add.schema.op, [first, counted(make, extent, tokens)], {}, i64(batch, tokens));
}

/** 0, 1, ... to before `limit`, which has one element: i64 [extent]. */
export function counted(make: SharedBuilder, limit: Value, extent: Dim): Value {
  const wide =
    limit.type?.dtype === 'i64' ? limit : make.value(Cast.schema.op, [limit], toI64, tensorType('i64', limit.type?.shape ?? null));
  const end = limit.type?.shape?.length === 0 ? wide : make.value(Squeeze.schema.op, [wide], {}, i64());
  const [zero, one] = [make.constant('start', int64s([], [0])), make.constant('step', int64s([], [1]))];
  return make.value(Range.schema.op, [zero, end, one], {}, i64(extent));
}

/**
 * What is added to scores so that no token sees a later one, nor one that lies `window` or more before it: f32 [batch, 1, seq, total].
 *
 *     mask[b, 0, i, j] = 0 where position[b, i] - window < j <= position[b, i], else the lowest number
 */
export function causalMask(make: SharedBuilder, lengths: SequenceLengths, x: Value, window: number | null): Value {
  const [batch, tokens] = [x.type!.shape![0]!, x.type!.shape![1]!];
  const keys = counted(make, lengths.total, null);
  const axes = make.ints('axes', [1, 3]);
  const queries = make.value(Unsqueeze.schema.op, [tokenPositions(make, lengths.last, x), axes], {}, i64(batch, 1, tokens, 1));
  const shape = [batch, 1, tokens, null];
  const past = make.value(LessOrEqual.schema.op, [keys, queries], {}, tensorType('bool', shape));
  const seen =
    window === null ? past : make.value(And.schema.op, [past, near(make, keys, queries, window, shape)], {}, tensorType('bool', shape));
  return make.value(
    Where.schema.op,
    [seen, make.constant('nothing', scalar(0)), make.constant('lowest', scalar(lowest))],
    {},
    tensorType('f32', shape),
  );
}

function near(make: SharedBuilder, keys: Value, queries: Value, window: number, shape: readonly Dim[]): Value {
  const before = make.value(Sub.schema.op, [queries, make.ints('window', [window])], {}, queries.type);
  return make.value(Greater.schema.op, [keys, before], {}, tensorType('bool', shape));
}

/** What a mask is made of, if `causalMask` makes it. */
export interface CausalMask extends SequenceLengths {
  readonly window: number | null;
}

/** Reads a mask that `causalMask` made; null for every other value. */
export function readCausalMask(mask: Value | null): CausalMask | null {
  const where = viewAs(Where, mask?.producer ?? null);
  if (!where || scalarOf(where.x) !== 0 || scalarOf(where.y) !== Math.fround(lowest)) return null;
  const both = viewAs(And, where.condition.producer);
  const past = viewAs(LessOrEqual, both?.a.producer ?? where.condition.producer);
  const window = both ? windowOf(both.b, past) : null;
  const queries = viewAs(Unsqueeze, past?.b.producer ?? null);
  const last = queries && readPositions(queries.data);
  const total = past && readCount(past.a);
  return last && total && (!both || window !== null) ? { last, total, window } : null;
}

function windowOf(nearer: Value, past: LessOrEqual | null): number | null {
  const greater = viewAs(Greater, nearer.producer);
  const before = viewAs(Sub, greater?.b.producer ?? null);
  return greater && before && greater.a === past?.a && before.a === past.b ? scalarOf(before.b) : null;
}

/** The last positions of sequences whose tokens' positions `tokenPositions` made; null for every other value. */
export function readPositions(positions: Value | null): Value | null {
  const sum = viewAs(Add, positions?.producer ?? null);
  const first = viewAs(Max, sum?.a.producer ?? null);
  const start = viewAs(Sub, first?.node.input(0)?.producer ?? null);
  const before = viewAs(Sub, start?.b.producer ?? null);
  const isCounted =
    sum !== null && before !== null && viewAs(Squeeze, viewAs(Range, sum.b.producer)?.limit.producer ?? null)?.data === before.a;
  const fromZero = scalarOf(first?.node.input(1) ?? null) === 0 && scalarOf(before?.b ?? null) === 1;
  return isCounted && fromZero ? (viewAs(Cast, viewAs(Unsqueeze, start!.a.producer)?.data.producer ?? null)?.input ?? null) : null;
}

/** The limit of a count from 0, before it was widened. */
function readCount(v: Value): Value | null {
  const range = viewAs(Range, v.producer);
  const end = viewAs(Squeeze, range?.limit.producer ?? null)?.data ?? range?.limit ?? null;
  return range && scalarOf(range.start) === 0 && scalarOf(range.delta) === 1 ? (viewAs(Cast, end?.producer ?? null)?.input ?? null) : null;
}
