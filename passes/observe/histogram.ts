/** Counts of f32 values by sign, exponent and the first four bits of the fraction: about 6 % wide bins that merge by addition. */
export type Histogram = ReadonlyMap<number, number>;

const bits = new DataView(new ArrayBuffer(4));

/** The bin of a value; both zeros are in one, whichever of them a reduction gives. */
export function binOf(x: number): number {
  bits.setFloat32(0, x + 0);
  return bits.getUint32(0) >>> 19;
}

/** The middle of a bin. */
export function binCentre(bin: number): number {
  bits.setUint32(0, ((bin << 19) | (1 << 18)) >>> 0);
  return bits.getFloat32(0);
}

export function histogramOf(values: Iterable<number>): Histogram {
  const counts = new Map<number, number>();
  for (const x of values) counts.set(binOf(x), (counts.get(binOf(x)) ?? 0) + 1);
  return counts;
}

/** The counts of both. */
export function added(a: Histogram, b: Histogram): Histogram {
  const sum = new Map(a);
  for (const [bin, n] of b) sum.set(bin, (sum.get(bin) ?? 0) + n);
  return sum;
}

/** The value below which a share `q` of the counted values lies, to the width of a bin. */
export function quantile(histogram: Histogram, q: number): number {
  const sorted = [...histogram].map(([bin, n]) => [binCentre(bin), n] as const).sort((a, b) => a[0] - b[0]);
  const total = sorted.reduce((n, [, count]) => n + count, 0);
  let seen = 0;
  for (const [x, count] of sorted) {
    seen += count;
    if (seen >= q * total) return x;
  }
  return sorted.at(-1)?.[0] ?? 0;
}
