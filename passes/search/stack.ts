import type { TypedData } from '../../ir/tensor.ts';
import type { Feeds, HostTensor } from '../infra/executor.ts';
import type { LossSample } from './losses.ts';

/**
 * Several samples as one of a larger batch, so that a candidate's weights are quantized once for all of them. Samples whose arrays
 * have not all the batch as their first axis, or differ in the other extents, stay as they are.
 */
export function stacked(samples: readonly LossSample[]): readonly LossSample[] {
  const [first, ...rest] = samples;
  if (!first || rest.length === 0 || !samples.every((s) => alike(s.feeds, first.feeds))) return samples;
  const names = Object.keys(first.feeds);
  const feeds = Object.fromEntries(names.map((name) => [name, joined(samples.map((s) => s.feeds[name]!))]));
  return [{ feeds, tokens: samples.reduce((n, s) => n + s.tokens, 0) }];
}

function alike(a: Feeds, b: Feeds): boolean {
  const batch = Object.values(a)[0]?.shape[0];
  return Object.entries(a).every(([name, t]) => t.shape.length > 1 && t.shape[0] === batch && t.shape.join() === b[name]?.shape.join());
}

function joined(parts: readonly HostTensor[]): HostTensor {
  const [first] = parts;
  const length = parts.reduce((n, p) => n + p.data.length, 0);
  const data: TypedData = Reflect.construct(first!.data.constructor, [length]);
  let at = 0;
  for (const p of parts) {
    // The element types agree: the arrays have the same name and come from the same graph.
    (data as Float32Array).set(p.data as Float32Array, at);
    at += p.data.length;
  }
  return { dtype: first!.dtype, shape: [parts.reduce((n, p) => n + p.shape[0]!, 0), ...first!.shape.slice(1)], data };
}
