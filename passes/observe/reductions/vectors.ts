import { int, tensor, type Attribute } from '../../../ir/attributes.ts';
import type { Value } from '../../../ir/graph.ts';
import { dense, floats } from '../../../ir/tensor.ts';
import { tensorType } from '../../../ir/types.ts';
import type { Part, Rows } from '../../infra/reduction.ts';

/** A reduction of [tokens, channels] over the tokens (0) or the channels (1). */
export const reduced = (rows: Rows, op: string, from: Value, axis: 0 | 1): Value =>
  rows.build.value(op, [from, rows.build.ints('axes', [axis])], { keepdims: int(0) }, tensorType('f32', [null]));

export const zip = (a: Float32Array, b: Float32Array, f: (x: number, y: number) => number): Float32Array => a.map((x, i) => f(x, b[i]!));

/** The mean over the tokens of both parts, of what `of` takes from them. */
export function pooled<T>(a: Part<T>, b: Part<T>, of: (value: T) => Float32Array): Float32Array {
  const tokens = a.tokens + b.tokens;
  return zip(of(a.value), of(b.value), (x, y) => (x * a.tokens + y * b.tokens) / tokens);
}

export const vector = (v: Float32Array): Attribute => tensor(dense([v.length], v));

/** The f32 elements of an attribute; null where it is missing. */
export function elementsOf(a: Attribute | undefined): Float32Array | null {
  return a?.kind === 'tensor' ? floats(a.value) : null;
}
