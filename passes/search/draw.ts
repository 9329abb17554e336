import { random } from '../../ir/text/numbers.ts';
import type { HostTensor } from '../infra/executor.ts';

/** `count` of the numbers below `total`, drawn without repetition; ascending. */
export function drawn(total: number, count: number, seed: number): readonly number[] {
  const next = random(seed);
  const keys = Array.from({ length: total }, (_, i) => [next(), i] as const);
  const chosen = keys.toSorted(([a], [b]) => a - b).slice(0, count);
  return chosen.map(([, i]) => i).toSorted((a, b) => a - b);
}

/** Rows of several arrays [.., C], each given by its places, as one [rows, C]. */
export function rowsOf(parts: readonly (readonly [x: HostTensor, places: readonly number[]])[]): HostTensor {
  const channels = parts[0]?.[0].shape.at(-1) ?? 0;
  const count = parts.reduce((n, [, places]) => n + places.length, 0);
  const rows = new Float32Array(count * channels);
  let at = 0;
  for (const [{ data }, places] of parts)
    for (const p of places) rows.set((data as Float32Array).subarray(p * channels, (p + 1) * channels), channels * at++);
  return { dtype: 'f32', shape: [count, channels], data: rows };
}
