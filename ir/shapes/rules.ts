import type { Node } from '../graph.ts';
import { dtypes, tensorType, type Dim, type DType, type TensorType } from '../types.ts';
import { atLeast, broadcast, divide, lesser, minus, multiply, plus, productOf, reshaped } from './dims.ts';
import { microsoftRules } from './microsoft.ts';
import {
  axisOf,
  dtypeOf,
  gemm,
  intAttribute,
  intsAttribute,
  likeFirst,
  norm,
  shapeOf,
  table,
  typed,
  type Known,
  type Rule,
} from './rule.ts';

const sameAsFirst: Rule = (node, known) => [{ type: known.type(node.input(0)), contents: known.contents(node.input(0)) }];

/** The shape that all broadcast to; null when one is unknown, or there is none, as in a model that ONNX Runtime would refuse. */
function allOf(shapes: readonly (readonly Dim[] | null)[]): readonly Dim[] | null {
  const [first = null, ...rest] = shapes;
  return rest.reduce<readonly Dim[] | null>((a, b) => a && b && broadcast(a, b), first);
}

/** An elementwise operator over all its operands; its dtype is that of the first, or `dtype`. */
const elementwise =
  (dtype?: DType): Rule =>
  (node, known) => {
    const shapes = node.operands.map((_, i) => shapeOf(node, i, known));
    const shape = allOf(shapes);
    return [{ type: typed(dtype ?? dtypeOf(node, 0, known), shape), contents: arithmetic(node, known) }];
  };

/** Shape arithmetic on small integer tensors. */
function arithmetic(node: Node, known: Known): readonly Dim[] | null {
  const [a, b] = [known.contents(node.input(0)), known.contents(node.input(1))];
  if (!a || !b) return null;
  const whole = /^[iu]/.test(dtypeOf(node, 0, known) ?? '');
  const f = { Mul: multiply, Div: whole ? quotient : divide, Add: plus, Sub: minus }[node.op];
  const at = (v: readonly Dim[], i: number): Dim => v[v.length === 1 ? 0 : i] ?? null;
  return f ? Array.from({ length: Math.max(a.length, b.length) }, (_, i) => f(at(a, i), at(b, i))) : null;
}

const negated: Rule = (node, known) => {
  const contents = known.contents(node.input(0))?.map((d) => multiply(d, -1)) ?? null;
  return [{ type: known.type(node.input(0)), contents }];
};

/** Integers are divided without a rest. */
const quotient = (a: Dim, b: Dim): Dim => (typeof a === 'number' && typeof b === 'number' && b !== 0 ? Math.trunc(a / b) : divide(a, b));

const shape: Rule = (node, known) => {
  const s = shapeOf(node, 0, known);
  const part = s?.slice(intAttribute(node, 'start', 0), node.attributes.has('end') ? intAttribute(node, 'end', 0) : undefined) ?? null;
  return [{ type: tensorType('i64', [part?.length ?? null]), contents: part }];
};

const gather: Rule = (node, known) => {
  const [data, indices] = [shapeOf(node, 0, known), shapeOf(node, 1, known)];
  const axis = data ? axisOf(intAttribute(node, 'axis', 0), data.length) : 0;
  const result = data && indices ? [...data.slice(0, axis), ...indices, ...data.slice(axis + 1)] : null;
  const [from, at] = [known.contents(node.input(0)), known.contents(node.input(1))];
  const contents = from && at ? at.map((i) => (typeof i === 'number' ? (from.at(i) ?? null) : null)) : null;
  return [{ type: typed(dtypeOf(node, 0, known), result), contents }];
};

const concat: Rule = (node, known) => {
  const shapes = node.operands.map((u) => known.type(u.value)?.shape ?? null);
  const parts = node.operands.map((u) => known.contents(u.value));
  const contents = parts.every((p) => p !== null) ? parts.flat() : null;
  if (shapes.some((s) => s === null)) return [{ type: typed(dtypeOf(node, 0, known), contents ? [contents.length] : null), contents }];
  const [first, ...rest] = shapes as (readonly Dim[])[];
  const axis = axisOf(intAttribute(node, 'axis', 0), first!.length);
  const result = first!.map((d, i) => (i === axis ? rest.reduce<Dim>((n, s) => plus(n, s[i]!), d) : d));
  return [{ type: typed(dtypeOf(node, 0, known), result), contents }];
};

/** Axes as an operand, or as an attribute in old models. */
const axesOf = (node: Node, index: number, known: Known): readonly number[] | null => {
  const given = known.contents(node.input(index));
  return given ? given.map(Number) : intsAttribute(node, 'axes');
};

const unsqueeze: Rule = (node, known) => {
  const [s, axes] = [shapeOf(node, 0, known), axesOf(node, 1, known)];
  if (!s || !axes) return [{ type: typed(dtypeOf(node, 0, known), null), contents: known.contents(node.input(0)) }];
  const result: Dim[] = [...s];
  for (const axis of axes.map((a) => axisOf(a, s.length + axes.length)).sort((a, b) => a - b)) result.splice(axis, 0, 1);
  return [{ type: typed(dtypeOf(node, 0, known), result), contents: known.contents(node.input(0)) }];
};

const squeeze: Rule = (node, known) => {
  const [s, axes] = [shapeOf(node, 0, known), axesOf(node, 1, known)];
  const gone = axes && s ? axes.map((a) => axisOf(a, s.length)) : null;
  const result = s && gone ? s.filter((_, i) => !gone.includes(i)) : null;
  return [{ type: typed(dtypeOf(node, 0, known), result), contents: known.contents(node.input(0)) }];
};

const slice: Rule = (node, known) => {
  const s = shapeOf(node, 0, known);
  const from = known.contents(node.input(0));
  const [start, end] = [known.contents(node.input(1)), known.contents(node.input(2))];
  const step = known.contents(node.input(4));
  const plain = start?.length === 1 && end?.length === 1 && typeof start[0] === 'number' && typeof end[0] === 'number';
  const contents = from && plain && (!step || step[0] === 1) ? from.slice(start[0] as number, end[0] as number) : null;
  const axes = axesOf(node, 3, known)?.map((a) => axisOf(a, s?.length ?? 0)) ?? (node.input(3) ? null : start?.map((_, i) => i));
  const extent = (d: Dim, k: number): Dim => ((node.input(4) ? step?.[k] : 1) === 1 ? between(d, start?.[k], end?.[k]) : null);
  const result = s && axes ? s.map((d, i) => (axes.includes(i) ? (contents?.length ?? extent(d, axes.indexOf(i))) : d)) : null;
  return [{ type: typed(dtypeOf(node, 0, known), result), contents }];
};

/** How many of `d` elements lie from `start` to before `end`; both count from the end where they are negative. */
function between(d: Dim, start: Dim = null, end: Dim = null): Dim {
  const from = placed(start, d);
  const to = placed(end, d);
  if (typeof from === 'number' && typeof to === 'number') return Math.max(to - from, 0);
  return from === 0 ? to : atLeast(to, from) ? minus(to, from) : null;
}

/** The place from 0 to d that an end of a slice stands for; null where it is unknown. */
function placed(x: Dim, d: Dim): Dim {
  // An end that no extent reaches stands for the end.
  if (typeof x === 'number' && x >= 2 ** 31 - 1) return d;
  if (typeof x === 'number' && typeof d === 'number') return Math.min(Math.max(x < 0 ? x + d : x, 0), d);
  if (atLeast(x, 0)) return lesser(x, d);
  const counted = atLeast(0, x) ? plus(d, x) : null;
  return atLeast(counted, 0) ? counted : null;
}

/** The extents that operand 1 asks for; where they are not known, as many unknown ones as it has elements. */
function targetOf(node: Node, known: Known): readonly Dim[] | null {
  const rank = shapeOf(node, 1, known)?.[0];
  return known.contents(node.input(1)) ?? (typeof rank === 'number' ? new Array<Dim>(rank).fill(null) : null);
}

const reshape: Rule = (node, known) => {
  const target = targetOf(node, known);
  const s = shapeOf(node, 0, known);
  const result = target ? reshaped(s, target, intAttribute(node, 'allowzero', 0) === 1) : null;
  return [{ type: typed(dtypeOf(node, 0, known), result), contents: result && result.length <= 1 ? known.contents(node.input(0)) : null }];
};

const transpose: Rule = (node, known) => {
  const s = shapeOf(node, 0, known);
  const perm = intsAttribute(node, 'perm') ?? s?.map((_, i) => s.length - 1 - i);
  return [{ type: typed(dtypeOf(node, 0, known), s && perm ? perm.map((p) => s[p] ?? null) : null) }];
};

const matMul: Rule = (node, known) => {
  const [a, b] = [shapeOf(node, 0, known), shapeOf(node, 1, known)];
  const ranked = a && b && a.length >= 2 && b.length >= 2;
  const result = ranked ? [...broadcast(a.slice(0, -2), b.slice(0, -2)), a.at(-2)!, b.at(-1)!] : null;
  return [{ type: typed(dtypeOf(node, 0, known), result) }];
};

/** [batch, out, ...]: extents are known where they are numbers and the padding is explicit. */
const conv: Rule = (node, known) => {
  const [x, w] = [shapeOf(node, 0, known), shapeOf(node, 1, known)];
  if (!x || !w || x.length !== w.length) return [{ type: typed(dtypeOf(node, 0, known), null) }];
  const [pads, strides, dilations] = ['pads', 'strides', 'dilations'].map((name) => intsAttribute(node, name));
  const auto = node.attributes.get('auto_pad');
  const plain = auto?.kind !== 'string' || auto.value === 'NOTSET' || auto.value === 'VALID';
  const axes = x.length - 2;
  const spatial = x.slice(2).map((d, i): Dim => {
    const kernel = w[i + 2];
    if (typeof d !== 'number' || typeof kernel !== 'number' || !plain) return null;
    const padded = d + (pads?.[i] ?? 0) + (pads?.[i + axes] ?? 0);
    return Math.floor((padded - (dilations?.[i] ?? 1) * (kernel - 1) - 1) / (strides?.[i] ?? 1)) + 1;
  });
  return [{ type: typed(dtypeOf(node, 0, known), [x[0]!, w[0]!, ...spatial]) }];
};

const reduce: Rule = (node, known) => {
  const s = shapeOf(node, 0, known);
  const given = axesOf(node, 1, known)?.map((a) => axisOf(a, s?.length ?? 0)) ?? (node.input(1) ? null : []);
  const axes = given?.length === 0 && intAttribute(node, 'noop_with_empty_axes', 0) === 0 ? s?.map((_, i) => i) : given;
  const keep = intAttribute(node, 'keepdims', 1) === 1;
  const result = s && axes ? s.flatMap((d, i) => (axes.includes(i) ? (keep ? [1] : []) : [d])) : null;
  return [{ type: typed(dtypeOf(node, 0, known), result) }];
};

/** The place of an extreme along one axis. */
const argument: Rule = (node, known) => {
  const s = shapeOf(node, 0, known);
  const axis = axisOf(intAttribute(node, 'axis', 0), s?.length ?? 0);
  const kept = intAttribute(node, 'keepdims', 1) === 1 ? [1] : [];
  return [{ type: typed('i64', s && s.flatMap((d, i) => (i === axis ? kept : [d]))) }];
};

/** What both branches give; an extent that is not the same is unknown. */
const branches: Rule = (node) =>
  node.outputs.map((_, i) => {
    const [first, ...others] = node.bodies.map((body) => body.outputs[i]?.type ?? null);
    const same = others.every((t) => t?.dtype === first?.dtype && t?.shape?.length === first?.shape?.length);
    const shape = first?.shape?.map((d, axis) => (others.every((t) => t?.shape?.[axis] === d) ? d : null)) ?? null;
    return { type: first && same ? typed(first.dtype, shape) : null };
  });

const cast: Rule = (node, known) => {
  const dtype = dtypes[intAttribute(node, 'to', 1) - 1] ?? null;
  return [{ type: typed(dtype, shapeOf(node, 0, known)), contents: known.contents(node.input(0)) }];
};

const constantOfShape: Rule = (node, known) => {
  const target = known.contents(node.input(0));
  const value = node.attributes.get('value');
  const dtype = value?.kind === 'tensor' ? value.value.dtype : 'f32';
  const filled =
    value?.kind === 'tensor' && dtype === 'i64' ? Number(new DataView(value.value.bytes().slice().buffer).getBigInt64(0, true)) : null;
  const count = target?.length === 1 && typeof target[0] === 'number' ? target[0] : null;
  return [
    { type: tensorType(dtype, target), contents: filled !== null && count !== null ? Array.from({ length: count }, () => filled) : null },
  ];
};

const expand: Rule = (node, known) => {
  const [s, target] = [shapeOf(node, 0, known), targetOf(node, known)];
  return [{ type: typed(dtypeOf(node, 0, known), s && target ? broadcast(s, target) : null) }];
};

const tile: Rule = (node, known) => {
  const [s, times] = [shapeOf(node, 0, known), known.contents(node.input(1))];
  const result = s && times?.length === s.length ? s.map((d, i) => multiply(d, times[i]!)) : null;
  return [{ type: typed(dtypeOf(node, 0, known), result) }];
};

const split: Rule = (node, known) => {
  const s = shapeOf(node, 0, known);
  const sizes = known.contents(node.input(1)) ?? intsAttribute(node, 'split');
  const axis = s ? axisOf(intAttribute(node, 'axis', 0), s.length) : 0;
  const even = s ? divide(s[axis] ?? null, node.outputs.length) : null;
  const contents = s?.length === 1 ? known.contents(node.input(0)) : null;
  let start: number | null = 0;
  return node.outputs.map((_, k) => {
    const size = s && (sizes?.[k] ?? even);
    const end: number | null = start !== null && typeof size === 'number' ? start + size : null;
    const part = start !== null && end !== null ? (contents?.slice(start, end) ?? null) : null;
    start = end;
    return { type: typed(dtypeOf(node, 0, known), s && s.map((d, i) => (i === axis ? size : d))), contents: part };
  });
};

const flatten: Rule = (node, known) => {
  const s = shapeOf(node, 0, known);
  const axis = s ? axisOf(intAttribute(node, 'axis', 1), s.length) : 0;
  return [{ type: typed(dtypeOf(node, 0, known), s && [productOf(s.slice(0, axis)), productOf(s.slice(axis))]) }];
};

/** In steps of 1, a Range has as many elements as lie from its start to its limit. */
const range: Rule = (node, known) => {
  const [start, limit, step] = [0, 1, 2].map((i) => known.contents(node.input(i))?.[0] ?? null);
  const count = step === 1 ? minus(limit ?? null, start ?? null) : null;
  return [{ type: typed(dtypeOf(node, 0, known), [atLeast(count, 0) ? count : null]) }];
};

/** The element type of the first operand; what is known of the extents is nothing. */
const dtypeOfFirst: Rule = (node, known) => node.outputs.map(() => ({ type: typed(dtypeOf(node, 0, known), null) }));

const quantizeLinear: Rule = (node, known) => {
  const named = dtypes[intAttribute(node, 'output_dtype', 0) - 1];
  return [{ type: tensorType(dtypeOf(node, 2, known) ?? named ?? 'u8', shapeOf(node, 0, known)) }];
};

const dequantizeLinear: Rule = (node, known) => [{ type: typed(dtypeOf(node, 1, known), shapeOf(node, 0, known)) }];

const matMulInteger: Rule = (node, known) => [{ type: tensorType('i32', matMul(node, known)[0]?.type?.shape ?? null) }];

const topK: Rule = (node, known) => [{ type: typed(dtypeOf(node, 0, known), null) }, { type: tensorType('i64', null) }];

/**
 * Attention on [batch, seq, heads * head_dim]: the result has the query's extents and the value's channels; a cache has the tokens of the one
 * before and the new ones.
 */
const attention: Rule = (node, known) => {
  const [q, v] = [shapeOf(node, 0, known), shapeOf(node, 2, known)];
  const groups = divide(intAttribute(node, 'q_num_heads', 1), intAttribute(node, 'kv_num_heads', 1));
  const result = q && v && q.length === 3 && v.length === 3 ? [q[0]!, q[1]!, multiply(v[2]!, groups)] : null;
  const present = (fresh: number, past: number): TensorType | null => {
    const [added, before] = [shapeOf(node, fresh, known), shapeOf(node, past, known)];
    const tokens = added?.length === 3 && before?.length === 4 ? plus(before[2]!, added[1]!) : null;
    return typed(dtypeOf(node, fresh, known), tokens === null ? null : before!.with(2, tokens));
  };
  const more = [present(1, 4), present(2, 5), typed(dtypeOf(node, 0, known), null)].map((type) => ({ type }));
  return [{ type: typed(dtypeOf(node, 0, known), result) }, ...more];
};

const where: Rule = (node, known) => {
  const shapes = [0, 1, 2].map((i) => shapeOf(node, i, known));
  const result = allOf(shapes);
  return [{ type: typed(dtypeOf(node, 1, known), result), contents: chosen(node, known) }];
};

/** `Where(shape == -1, 1, shape)`, the exporters' guard for Expand, when no extent is -1. */
function chosen(node: Node, known: Known): readonly Dim[] | null {
  const test = node.input(0)?.producer;
  const otherwise = known.contents(node.input(2));
  if (test?.op !== 'Equal' || test.input(0) !== node.input(2) || !otherwise) return null;
  return otherwise.map((d) => (d === -1 ? 1 : d));
}

/** What is known of each operator's results. An operator that is missing here leaves its results unknown. */
export const rules: Readonly<Record<string, Rule>> = {
  Identity: sameAsFirst,
  ...microsoftRules,
  ...table('LayerNormalization RMSNormalization', norm),
  ...table('Softmax LogSoftmax Dropout CumSum Trilu Clip', likeFirst),
  ...table('Elu Sign Ceil ScatterElements ScatterND RotaryEmbedding', likeFirst),
  ...table('Pad GatherND Einsum', dtypeOfFirst),
  Tile: tile,
  GatherElements: (node, known) => [{ type: typed(dtypeOf(node, 0, known), shapeOf(node, 1, known)) }],
  Neg: negated,
  ...table('Relu LeakyRelu Gelu Erf Tanh Sigmoid Sqrt Exp Abs Reciprocal Floor Round HardSwish Softplus Sin Cos Log Not', likeFirst),
  ...table('qc.Site qc.Observer qc.Encode qc.Decode qc.CacheBasis qc.FakeQuantize qc.DynamicQuantize', likeFirst),
  ...table('Add Sub Mul Div Pow Min Max Mod And Or Xor', elementwise()),
  ...table('Equal Less Greater LessOrEqual GreaterOrEqual', elementwise('bool')),
  ...table('IsNaN IsInf', elementwise('bool')),
  ...table('ArgMax ArgMin', () => [{ type: tensorType('i64', null) }]),
  TopK: topK,
  QuantizeLinear: quantizeLinear,
  DequantizeLinear: dequantizeLinear,
  MatMulInteger: matMulInteger,
  Where: where,
  Shape: shape,
  Size: () => [{ type: tensorType('i64', []) }],
  Gather: gather,
  Concat: concat,
  Unsqueeze: unsqueeze,
  Squeeze: squeeze,
  Slice: slice,
  Reshape: reshape,
  Transpose: transpose,
  MatMul: matMul,
  Gemm: gemm,
  Conv: conv,
  ...table('ArgMax ArgMin', argument),
  If: branches,
  ...table('ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL2 ReduceSumSquare', reduce),
  Cast: cast,
  CastLike: (node, known) => [{ type: typed(dtypeOf(node, 1, known), shapeOf(node, 0, known)) }],
  ConstantOfShape: constantOfShape,
  Expand: expand,
  Flatten: flatten,
  Split: split,
  Range: range,
  Attention: attention,
};
