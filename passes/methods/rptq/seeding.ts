/** Points, one after another, each of `width` coordinates. */
export interface Points {
  readonly width: number;
  readonly at: Float64Array;
}

/**
 * First centroids by greedy k-means++ (Arthur and Vassilvitskii 2007, as scikit-learn does it): of a few points drawn with
 * probabilities in proportion to the squared distance from the centroids so far, the one that leaves the least sum of such distances.
 * `random` gives numbers in [0, 1).
 */
export function seeds(points: Points, clusters: number, random: () => number): number[][] {
  const { width, at } = points;
  const count = at.length / width;
  const trials = 2 + Math.floor(Math.log(clusters));
  const chosen = [Math.floor(random() * count)];
  let nearest = distancesTo(points, chosen[0]!);
  while (chosen.length < clusters) {
    const candidates = drawn(nearest, trials, random);
    const left = candidates.map((i) => lesser(nearest, distancesTo(points, i)));
    const sums = left.map(total);
    const best = sums.indexOf(Math.min(...sums));
    chosen.push(candidates[best]!);
    nearest = left[best]!;
  }
  return chosen.map((i) => [...at.subarray(i * width, (i + 1) * width)]);
}

function distancesTo({ width, at }: Points, point: number): Float64Array {
  const distances = new Float64Array(at.length / width);
  for (let i = 0; i < distances.length; i++) {
    let sum = 0;
    for (let k = 0; k < width; k++) {
      const d = at[point * width + k]! - at[i * width + k]!;
      sum += d * d;
    }
    distances[i] = sum;
  }
  return distances;
}

function lesser(a: Float64Array, b: Float64Array): Float64Array {
  for (let i = 0; i < b.length; i++) if (a[i]! < b[i]!) b[i] = a[i]!;
  return b;
}

function total(v: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < v.length; i++) sum += v[i]!;
  return sum;
}

/** Some places, each with a probability in proportion to its weight; one place may come up again. */
function drawn(weights: Float64Array, count: number, random: () => number): readonly number[] {
  const factor = 1 / total(weights);
  const cumulative = new Float64Array(weights.length);
  let sum = 0;
  for (let i = 0; i < weights.length; i++) cumulative[i] = sum += weights[i]! * factor;
  return Array.from({ length: count }, () => {
    const x = random();
    let i = 0;
    while (i < weights.length - 1 && x > cumulative[i]!) i++;
    return i;
  });
}
