import type { Builder } from '../../../ir/builder.ts';
import type { Value } from '../../../ir/graph.ts';
import { Reshape } from '../../../ir/ops/generated.ts';
import { multiply } from '../../../ir/shapes/dims.ts';
import { tensorType, type Dim, type TensorType } from '../../../ir/types.ts';
import { transposed } from '../layout.ts';

/** The extents of a value [batch, heads, seq, width] whose heads and width are known as numbers. */
export interface Heads {
  readonly batch: Dim;
  readonly heads: number;
  readonly seq: Dim;
  readonly width: number;
}

export const headsOf = (v: Value | null | undefined): Heads | null => headsIn(v?.type);

export function headsIn(type: TensorType | null | undefined): Heads | null {
  const shape = type?.shape;
  if (shape?.length !== 4) return null;
  const [batch, heads, seq, width] = shape as [Dim, Dim, Dim, Dim];
  return typeof heads === 'number' && typeof width === 'number' ? { batch, heads, seq, width } : null;
}

/** [batch, heads, seq, width] to [batch, seq, heads * width]. */
export function toTokens(build: Builder, v: Value): Value {
  const { batch, heads, seq, width } = headsOf(v)!;
  const { dtype } = v.type!;
  const turned = transposed(build, v, [0, 2, 1, 3], v, tensorType(dtype, [batch, seq, heads, width]));
  return reshaped(build, turned, [0, 0, heads * width], tensorType(dtype, [batch, seq, multiply(heads, width)]));
}

/** [batch, seq, heads * width] to [batch, heads, seq, width]. */
export function toHeads(build: Builder, v: Value, heads: number): Value {
  const [batch, seq, channels] = v.type!.shape as [Dim, Dim, number];
  const { dtype } = v.type!;
  const width = channels / heads;
  const split = reshaped(build, v, [0, 0, heads, width], tensorType(dtype, [batch, seq, heads, width]));
  return transposed(build, split, [0, 2, 1, 3], v, tensorType(dtype, [batch, heads, seq, width]));
}

const reshaped = (build: Builder, data: Value, target: readonly number[], type: TensorType): Value =>
  build.make(Reshape, { data, shape: build.ints('shape', target) }, { like: data, type }).reshaped;
