import type { HostTensor } from '../infra/executor.ts';

/** For K candidates, whose widths are [K, C], 1 at every run of channels [K, runs] in which a width is not 1, else 0. */
export function changedRuns({ shape, data }: HostTensor, runs: readonly number[]): HostTensor {
  const [candidates = 0, channels = 0] = shape;
  const changed = new BigInt64Array(candidates * runs.length);
  for (let k = 0; k < candidates; k++) {
    let start = k * channels;
    runs.forEach((size, r) => {
      const widths = (data as Float32Array).subarray(start, (start += size));
      if (widths.some((w) => w !== 1)) changed[k * runs.length + r] = 1n;
    });
  }
  return { dtype: 'i64', shape: [candidates, runs.length], data: changed };
}
