import { int } from '../../../ir/attributes.ts';
import { counted, lowest } from '../../../ir/causal-mask.ts';
import type { Value } from '../../../ir/graph.ts';
import {
  Add,
  Concat,
  Expand,
  Greater,
  Less,
  LessOrEqual,
  Slice,
  Unsqueeze,
  Where,
  And,
  GreaterOrEqual,
} from '../../../ir/ops/generated.ts';
import { refuse, type Refusal } from '../../../ir/pattern.ts';
import { broadcast, multiply } from '../../../ir/shapes/dims.ts';
import type { SharedBuilder } from '../../../ir/shared.ts';
import { inMemory, scalar } from '../../../ir/tensor.ts';
import { tensorType, type Dim } from '../../../ir/types.ts';

/** Queries, and the keys that they may see. */
export interface Scores {
  /** [batch, queries, ..] */
  readonly query: Value;
  /** [batch, fresh keys, ..] */
  readonly key: Value;
  /** Keys in a cache [batch, heads, past, width], which stand in front of the others. */
  readonly past: Value | null;
}

/** What hides keys. */
export interface Hidden {
  /** i32: [batch] ends, [2 batch] ends and starts, [batch, keys] or [batch, queries, keys] flags. */
  readonly padding: Value | null;
  /** What scores of padding get. */
  readonly filter: number;
  /** Whether no query sees a later key. */
  readonly causal: boolean;
  /** f32, is added to the scores [batch, heads, queries, keys] or to some axes of them. */
  readonly bias: Value | null;
}

/** What is added to the scores, f32 with queries and keys written out; null where nothing is hidden. */
export function maskOf(make: SharedBuilder, scores: Scores, hidden: Hidden): Value | null | Refusal {
  const kept = hidden.padding ? keptKeys(make, hidden.padding, scores) : null;
  if (kept && 'refused' in kept) return kept;
  const padded = kept && choose(make, kept, make.constant('nothing', scalar(0)), make.constant('filter', scalar(hidden.filter)));
  const causal = hidden.causal ? afterwards(make, scores, padded) : padded;
  const whole = causal && written(make, causal, scores);
  if (!hidden.bias) return whole;
  if (!whole) return written(make, hidden.bias, scores);
  const shape = broadcast(whole.type!.shape!, hidden.bias.type?.shape ?? []);
  return make.value(Add.schema.op, [whole, hidden.bias], {}, tensorType('f32', shape));
}

const boolean = (shape: readonly Dim[]) => tensorType('bool', shape);

function choose(make: SharedBuilder, condition: Value, x: Value, y: Value): Value {
  const shape = broadcast(condition.type!.shape!, x.type!.shape!);
  return make.value(Where.schema.op, [condition, x, y], {}, tensorType('f32', shape));
}

/** How many keys there are, i64 [1]. */
function totalOf(make: SharedBuilder, { key, past }: Scores): Value {
  const fresh = make.extent(key, 1);
  return past ? make.value(Add.schema.op, [make.extent(past, 2), fresh], {}, tensorType('i64', [1])) : fresh;
}

/** Which keys are no padding: bool [batch, 1, 1, keys] or [batch, 1, queries, keys]. */
function keptKeys(make: SharedBuilder, padding: Value, scores: Scores): Value | Refusal {
  const shape = padding.type?.shape;
  if (shape?.length === 2) return flagged(make, padding, [1, 2]);
  if (shape?.length === 3) return flagged(make, padding, [1]);
  if (shape?.length !== 1) return refuse('its mask has an unknown form', padding);
  const batch = scores.query.type?.shape?.[0] ?? null;
  const keys = counted(make, totalOf(make, scores), null);
  if (batch !== null && shape[0] === batch) return before(make, keys, column(make, padding, batch));
  if (batch === null || shape[0] !== multiply(2, batch))
    return refuse('its mask has neither one nor two numbers for each sequence', padding);
  const extent = make.extent(scores.query, 0);
  const end = make.ints('end', [2 ** 31 - 1]);
  const [zero, axis] = [make.ints('zero', [0]), make.ints('axis', [0])];
  const part = (from: Value, to: Value): Value =>
    column(make, make.value(Slice.schema.op, [padding, from, to, axis], {}, tensorType('i32', [batch])), batch);
  const inEnd = before(make, keys, part(zero, extent));
  const inStart = make.value(GreaterOrEqual.schema.op, [keys, part(extent, end)], {}, inEnd.type);
  return make.value(And.schema.op, [inEnd, inStart], {}, inEnd.type);
}

function flagged(make: SharedBuilder, flags: Value, axes: readonly number[]): Value {
  const shape = flags.type!.shape!;
  const none = make.constant('none', inMemory('i32', [], Int32Array.of(0)));
  const kept = make.value(Greater.schema.op, [flags, none], {}, boolean(shape));
  const to = axes.reduce<readonly Dim[]>((s, axis) => s.toSpliced(axis, 0, 1), shape);
  return make.value(Unsqueeze.schema.op, [kept, make.ints('axes', axes)], {}, boolean(to));
}

/** Numbers for each sequence as i64 [batch, 1, 1, 1]. */
function column(make: SharedBuilder, numbers: Value, batch: Dim): Value {
  const wide = make.value('Cast', [numbers], { to: int(7) }, tensorType('i64', [batch]));
  return make.value(Unsqueeze.schema.op, [wide, make.ints('axes', [1, 2, 3])], {}, tensorType('i64', [batch, 1, 1, 1]));
}

const before = (make: SharedBuilder, keys: Value, ends: Value): Value =>
  make.value(Less.schema.op, [keys, ends], {}, boolean([ends.type!.shape![0]!, 1, 1, null]));

/** Query i comes behind the keys of the cache, so it sees `past + i` of them before its own; later ones get the lowest number. */
function afterwards(make: SharedBuilder, scores: Scores, padded: Value | null): Value {
  const tokens = scores.query.type!.shape![1]!;
  const keys = counted(make, totalOf(make, scores), null);
  const fresh = counted(make, make.extent(scores.query, 1), tokens);
  const placed = scores.past ? make.value(Add.schema.op, [fresh, make.extent(scores.past, 2)], {}, fresh.type) : fresh;
  const rows = make.value(Unsqueeze.schema.op, [placed, make.ints('axis', [1])], {}, tensorType('i64', [tokens, 1]));
  const seen = make.value(LessOrEqual.schema.op, [keys, rows], {}, boolean([tokens, null]));
  return choose(make, seen, padded ?? make.constant('nothing', scalar(0)), make.constant('lowest', scalar(lowest)));
}

/** ONNX Runtime's Attention wants the last two extents of a mask written out, where an Add broadcasts them. */
function written(make: SharedBuilder, mask: Value, scores: Scores): Value {
  const shape = mask.type!.shape!;
  if (shape.length > 1 && shape.at(-2) !== 1 && shape.at(-1) !== 1) return mask;
  const extents = [make.extent(scores.query, 1), totalOf(make, scores)] as const;
  const target = make.value(Concat.schema.op, [...extents], { axis: int(0) }, tensorType('i64', [2]));
  const type = tensorType('f32', broadcast(shape, [scores.query.type!.shape![1]!, null]));
  return make.value(Expand.schema.op, [mask, target], {}, type);
}
