import type { HostTensor } from '../infra/executor.ts';

/** For K candidates, whose widths are [K, C], 1 at every group of channels [K, groups] in which a width is not 1, else 0. */
export function changedGroups({ shape, data }: HostTensor, groups: readonly number[]): HostTensor {
  const [candidates = 0, channels = 0] = shape;
  const changed = new BigInt64Array(candidates * groups.length);
  for (let k = 0; k < candidates; k++) {
    let start = k * channels;
    groups.forEach((size, g) => {
      const widths = (data as Float32Array).subarray(start, (start += size));
      if (widths.some((w) => w !== 1)) changed[k * groups.length + g] = 1n;
    });
  }
  return { dtype: 'i64', shape: [candidates, groups.length], data: changed };
}
