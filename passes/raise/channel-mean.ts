import { integersOf } from '../../ir/constants.ts';
import type { Value } from '../../ir/graph.ts';
import { ReduceMean, Sub } from '../../ir/ops/generated.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { refuse, type Refusal } from '../../ir/pattern.ts';

/** Why a mean of something with the axes of `x` is not one number for each token, which a norm needs; null where it is. */
export function meanRefusal(mean: ReduceMean, x: Value): Refusal | null {
  if (!isLastAxis(mean.axes, x)) return refuse('the mean is not over the last axis', mean.reduced);
  return mean.keepdims === 0 ? refuse('the mean drops its axis', mean.reduced) : null;
}

/** Whether `axes` are the last axis of x alone. */
export function isLastAxis(axes: Value | null, x: Value): boolean {
  const given = integersOf(axes);
  const rank = x.type?.shape?.length;
  return given?.length === 1 && (given[0] === -1 || (rank !== undefined && given[0] === rank - 1));
}

/** Whether a value is y - mean(y): what LayerNormalization divides, and RMSNormalization does not. */
export function isCentred(x: Value): boolean {
  const difference = viewAs(Sub, x.producer);
  return difference !== null && viewAs(ReduceMean, difference.b.producer)?.data === difference.a;
}
