import { unknownLocation } from '../../ir/diagnostics.ts';
import type { Feeds, HostTensor } from '../../passes/index.ts';
import { fit } from '../data/fit.ts';
import type { ModelInputs } from '../data/inputs.ts';
import type { Carry } from '../runtime/process-messages.ts';

/** What goes in for some tokens behind `past` others, but for the caches that the step before left. */
export function feedsFor(ids: readonly number[], past: number, inputs: ModelInputs, carry: Carry, others: Feeds = {}): Feeds {
  const tokens: HostTensor = { dtype: 'i64', shape: [1, ids.length], data: BigInt64Array.from(ids, BigInt) };
  const arrays = { ...others, [inputs.tokens!.name]: tokens };
  if (past === 0) return fit(arrays, inputs, unknownLocation);
  const carried = new Set(Object.values(carry));
  const rest = { ...inputs, all: inputs.all.filter((input) => !carried.has(input.name)) };
  return fit(arrays, rest, unknownLocation, past);
}
