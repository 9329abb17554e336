import { int, ints, tensor, type Attribute, type Attributes } from './attributes.ts';
import { fail } from './diagnostics.ts';
import { doubles, inMemory } from './tensor.ts';

/**
 * An invertible map on the channels of the last axis: `y[i] = x[perm[i]] * scale[i] + shift[i]`.
 * A null part is the identity. The maps of one size form a group under `compose`.
 */
export interface ChannelTransform {
  readonly size: number;
  readonly perm: Uint32Array | null;
  readonly scale: Float64Array | null;
  readonly shift: Float64Array | null;
}

/** The least and the greatest element of each channel, [size] both. */
export interface ChannelRange {
  readonly min: Float32Array;
  readonly max: Float32Array;
}

/** Which parts of a transform an operator lets through or takes in. */
/** A part of a change of basis. */
export type ChannelPart = 'perm' | 'scale' | 'shift';

export interface Capability {
  readonly perm: boolean;
  readonly scale: boolean | 'positive';
  readonly shift: boolean;
}

export const identity = (size: number): ChannelTransform => ({ size, perm: null, scale: null, shift: null });

/** `y[i] = x[order[i]]`: the RPTQ form. */
export function permutation(order: ArrayLike<number>): ChannelTransform {
  const perm = Uint32Array.from(order);
  if (new Set(perm).size !== perm.length || perm.some((p) => p >= perm.length))
    fail('QC1101', `not a permutation of ${perm.length} channels`);
  return simplify({ size: perm.length, perm, scale: null, shift: null });
}

/** `y = (x - center) / width`: the Outlier Suppression+ form (eq. 1 to 5 of Wei et al. 2023). */
export function standardize(center: ArrayLike<number>, width: ArrayLike<number>): ChannelTransform {
  const scale = Float64Array.from(width, (w) => 1 / w);
  const shift = Float64Array.from(center, (z, i) => -z * scale[i]!);
  return checked({ size: scale.length, perm: null, scale, shift });
}

/** `y = x + offset`. */
export const translation = (offset: ArrayLike<number>): ChannelTransform =>
  simplify({ size: offset.length, perm: null, scale: null, shift: Float64Array.from(offset) });

export const permAt = (t: ChannelTransform, i: number): number => t.perm?.[i] ?? i;
export const scaleAt = (t: ChannelTransform, i: number): number => t.scale?.[i] ?? 1;
export const shiftAt = (t: ChannelTransform, i: number): number => t.shift?.[i] ?? 0;

/** First `a`, then `b`. */
export function compose(a: ChannelTransform, b: ChannelTransform): ChannelTransform {
  if (a.size !== b.size) fail('QC1103', `channel counts differ: ${a.size} and ${b.size}`);
  const at = (f: (i: number) => number) => Float64Array.from({ length: a.size }, (_, i) => f(i));
  return simplify({
    size: a.size,
    perm: Uint32Array.from({ length: a.size }, (_, i) => permAt(a, permAt(b, i))),
    scale: at((i) => scaleAt(a, permAt(b, i)) * scaleAt(b, i)),
    shift: at((i) => shiftAt(a, permAt(b, i)) * scaleAt(b, i) + shiftAt(b, i)),
  });
}

export function inverse(t: ChannelTransform): ChannelTransform {
  const perm = new Uint32Array(t.size);
  const scale = new Float64Array(t.size);
  const shift = new Float64Array(t.size);
  for (let i = 0; i < t.size; i++) {
    const p = permAt(t, i);
    perm[p] = i;
    scale[p] = 1 / scaleAt(t, i);
    // Not -0, which would print as such.
    shift[p] = 0 - shiftAt(t, i) / scaleAt(t, i);
  }
  return checked({ size: t.size, perm, scale, shift });
}

/**
 * Cuts `t` in two, `compose(moves, stays)` being `t`, so that `moves` has only the parts that `can` names.
 * Each operator names what it lets through; this is the one place that knows how to cut.
 */
export function factor(t: ChannelTransform, can: Capability): { readonly moves: ChannelTransform; readonly stays: ChannelTransform } {
  const order: ChannelTransform = { ...t, scale: null, shift: null };
  const whole = can.perm ? t : compose(t, inverse(order));
  const kept = (s: number) => (can.scale === 'positive' ? Math.abs(s) : can.scale ? s : 1);
  const at = (f: (i: number) => number) => Float64Array.from({ length: t.size }, (_, i) => f(i));
  const rest = at((i) => scaleAt(whole, i) / kept(scaleAt(whole, i)));
  const shift = at((i) => (can.shift ? shiftAt(whole, i) / rest[i]! : 0));
  const moves = simplify({ size: t.size, perm: whole.perm, scale: at((i) => kept(scaleAt(whole, i))), shift });
  const left = simplify({ size: t.size, perm: null, scale: rest, shift: at((i) => shiftAt(whole, i) - shift[i]! * rest[i]!) });
  return { moves, stays: can.perm ? left : compose(left, order) };
}

export const isIdentity = (t: ChannelTransform): boolean => !t.perm && !t.scale && !t.shift;

/** Whether two changes of basis are the same, number by number. */
export function equalTransforms(a: ChannelTransform, b: ChannelTransform): boolean {
  const equal = <T extends ArrayLike<number> | null>(x: T, y: T): boolean =>
    x === y || (x !== null && y !== null && x.length === y.length && Array.prototype.every.call(x, (v: number, i: number) => v === y[i]));
  return a.size === b.size && equal(a.perm, b.perm) && equal(a.scale, b.scale) && equal(a.shift, b.shift);
}

/** `t` without its shift. */
export const linearPart = (t: ChannelTransform): ChannelTransform => ({ ...t, shift: null });

/** `t` repeated for blocks of channels side by side: 4 heads of 64 from one transform of 64 channels. */
export function sideBySide(parts: readonly ChannelTransform[]): ChannelTransform {
  const offsets = parts.map(
    (
      (at) => (p) =>
        (at += p.size) - p.size
    )(0),
  );
  const flat = (f: (t: ChannelTransform, i: number, offset: number) => number) =>
    parts.flatMap((p, k) => Array.from({ length: p.size }, (_, i) => f(p, i, offsets[k]!)));
  return simplify({
    size: parts.reduce((n, p) => n + p.size, 0),
    perm: Uint32Array.from(flat((p, i, offset) => permAt(p, i) + offset)),
    scale: Float64Array.from(flat((p, i) => scaleAt(p, i))),
    shift: Float64Array.from(flat((p, i) => shiftAt(p, i))),
  });
}

/** Applies `t` to data whose channel axis is `axis` of `shape`. */
export function apply(t: ChannelTransform, data: Float32Array, shape: readonly number[], axis: number): Float32Array {
  const inner = shape.slice(axis + 1).reduce((n, d) => n * d, 1);
  if (shape[axis] !== t.size) fail('QC1103', `a transform of ${t.size} channels meets an axis of ${shape[axis]}`);
  const out = new Float32Array(data.length);
  for (let start = 0; start < data.length; start += t.size * inner) {
    for (let c = 0; c < t.size; c++) {
      const from = start + permAt(t, c) * inner;
      const to = start + c * inner;
      const scale = scaleAt(t, c);
      const shift = shiftAt(t, c);
      for (let k = 0; k < inner; k++) out[to + k] = data[from + k]! * scale + shift;
    }
  }
  return out;
}

/** The interval of every channel after `t`, given the interval before it. */
export function applyToRange(t: ChannelTransform, min: Float32Array, max: Float32Array): ChannelRange {
  const ends = (v: Float32Array) => apply(t, v, [t.size], 0);
  const [a, b] = [ends(min), ends(max)];
  return { min: a.map((x, i) => Math.min(x, b[i]!)), max: a.map((x, i) => Math.max(x, b[i]!)) };
}

/** The attributes that hold `t` on a `qc.Encode` or `qc.Decode` node: exact, so that text and ONNX give back the same transform. */
export function transformAttributes(t: ChannelTransform): Attributes {
  const vector = (v: Float64Array): Attribute => tensor(inMemory('f64', [t.size], v));
  return {
    size: int(t.size),
    ...(t.perm ? { perm: ints(t.perm) } : {}),
    ...(t.scale ? { scale: vector(t.scale) } : {}),
    ...(t.shift ? { shift: vector(t.shift) } : {}),
  };
}

/** Reads what `transformAttributes` wrote. */
export function transformOf(attributes: ReadonlyMap<string, Attribute>): ChannelTransform {
  const perm = attributes.get('perm');
  const vector = (name: string): Float64Array | null => {
    const a = attributes.get(name);
    return a?.kind === 'tensor' ? doubles(a.value) : null;
  };
  const size = attributes.get('size');
  if (size?.kind !== 'int') fail('QC1202', 'a channel transform has no size');
  const affine: ChannelTransform = { size: Number(size.value), perm: null, scale: vector('scale'), shift: vector('shift') };
  return perm?.kind === 'ints' ? compose(permutation(perm.value.map(Number)), affine) : simplify(affine);
}

function checked(t: ChannelTransform): ChannelTransform {
  if (t.scale?.some((s) => !Number.isFinite(s) || s === 0)) fail('QC1102', 'a channel scale is zero or not finite');
  if (t.shift?.some((s) => !Number.isFinite(s))) fail('QC1102', 'a channel shift is not finite');
  return simplify(t);
}

/** Within this of the identity a scale or shift is the identity: what rounding leaves must not become an operator. */
const negligible = 1e-12;

function simplify(t: ChannelTransform): ChannelTransform {
  return {
    size: t.size,
    perm: t.perm?.some((p, i) => p !== i) ? t.perm : null,
    scale: t.scale?.some((s) => Math.abs(s - 1) > negligible) ? t.scale : null,
    shift: t.shift?.some((b) => Math.abs(b) > negligible) ? t.shift : null,
  };
}
