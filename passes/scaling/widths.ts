import { floats, type Tensor } from '../../ir/tensor.ts';

/** s_j = x_j^activation / w_j^weight. */
export interface Exponents {
  readonly activation: number;
  readonly weight: number;
}

/** What is small beside the largest of a vector counts as this part of it, so that a channel that hardly fired is not blown up. */
const floor = 1e-4;

/**
 * The widths [C] of channels with the magnitudes x [C] whose rows of the weights have the magnitudes w [C]; divided by their geometric mean,
 * because one factor for all channels changes nothing but where ranges and weights lie. A channel that is 0 or that nothing reads counts as the
 * mean. Channels with one leader have the geometric mean of their widths.
 */
export function widthsFor(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  { activation, weight }: Exponents,
  leaders: Uint32Array | null,
): Float64Array {
  const [leastX, leastW] = [floor * largest(x), floor * largest(w)];
  const logs = Float64Array.from(x, (xj, j) =>
    xj > 0 && w[j]! > 0 ? activation * Math.log(Math.max(xj, leastX)) - weight * Math.log(Math.max(w[j]!, leastW)) : NaN,
  );
  const known = logs.filter((l) => !Number.isNaN(l));
  const mean = known.reduce((a, b) => a + b, 0) / Math.max(1, known.length);
  const centred = logs.map((l) => (Number.isNaN(l) ? 0 : l - mean));
  return meanOfTied(centred, leaders).map(Math.exp);
}

const largest = (v: ArrayLike<number>): number => Array.from(v).reduce((a, b) => Math.max(a, b), 0);

/** The mean of v over the channels that have one leader, for each of them. */
export function meanOfTied(v: Float64Array, leaders: Uint32Array | null): Float64Array {
  if (!leaders) return v;
  const [sums, counts] = [new Float64Array(v.length), new Float64Array(v.length)];
  v.forEach((x, j) => {
    sums[leaders[j]!]! += x;
    counts[leaders[j]!]! += 1;
  });
  return Float64Array.from(leaders, (l) => sums[l]! / counts[l]!);
}

/** max |w| over the outputs of all `weights` [C, out], for each of their rows [C]. */
export function rowMaxima(weights: readonly Tensor[]): Float64Array {
  const found = new Float64Array(weights[0]?.shape[0] ?? 0);
  for (const weight of weights) {
    const [data, columns] = [floats(weight), weight.shape[1]!];
    for (let j = 0; j < found.length; j++)
      for (let at = j * columns; at < (j + 1) * columns; at++) found[j] = Math.max(found[j]!, Math.abs(data[at]!));
  }
  return found;
}
