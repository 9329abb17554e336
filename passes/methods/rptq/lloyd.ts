/** Points and centroids, one after another, each of `width` coordinates. */
export interface Points {
  readonly width: number;
  readonly at: Float64Array;
}

/** Which centroid each point belongs to, and where the centroids are once their points have moved them. */
export interface Partition {
  readonly labels: Int32Array;
  readonly centroids: Points;
}

/**
 * Lloyd's iterations of k-means from some centroids on, until none moves by more than the square root of `tolerance`, at most `most` of
 * them. Sums run in the order of the points.
 */
export function lloyd(
  points: Points,
  start: Points,
  { tolerance, most }: { readonly tolerance: number; readonly most: number },
): Partition {
  const labels = new Int32Array(points.at.length / points.width);
  let centroids = start;
  for (let i = 0; i < most; i++) {
    assign(labels, points, centroids);
    const next = means(points, labels, centroids);
    const settled = isWithin(next, centroids, tolerance);
    centroids = next;
    if (settled) break;
  }
  return { labels, centroids };
}

/**
 * The first of the nearest centroids of each point. A centroid that the first coordinate alone puts farther away than the label so far is
 * passed over: further coordinates only add to a distance.
 */
function assign(labels: Int32Array, { width, at }: Points, { at: centroids }: Points): void {
  for (let i = 0, p = 0; i < labels.length; i++, p += width) {
    let bound = squaredDistance(at, p, centroids, labels[i]! * width, width);
    let least = Infinity;
    for (let c = 0; c < centroids.length; c += width) {
      const first = at[p]! - centroids[c]!;
      if (first * first > bound) continue;
      const distance = squaredDistance(at, p, centroids, c, width);
      if (distance < least) {
        least = distance;
        if (distance < bound) bound = distance;
        labels[i] = c / width;
      }
    }
  }
}

/** The mean of the points of each label; a centroid without points stays where it was. */
function means({ width, at }: Points, labels: Int32Array, old: Points): Points {
  const sums = new Float64Array(old.at.length);
  const counts = new Int32Array(old.at.length / width);
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i]!;
    counts[label]!++;
    for (let k = 0; k < width; k++) sums[label * width + k]! += at[i * width + k]!;
  }
  return { width, at: sums.map((x, i) => (counts[Math.floor(i / width)]! > 0 ? x / counts[Math.floor(i / width)]! : old.at[i]!)) };
}

function isWithin({ width, at: a }: Points, { at: b }: Points, tolerance: number): boolean {
  for (let c = 0; c < a.length; c += width) if (squaredDistance(a, c, b, c, width) > tolerance) return false;
  return true;
}

/** Of the points that begin at `i` and at `j`. */
export function squaredDistance(a: Float64Array, i: number, b: Float64Array, j: number, width: number): number {
  let sum = 0;
  for (let k = 0; k < width; k++) {
    const d = a[i + k]! - b[j + k]!;
    sum += d * d;
  }
  return sum;
}

/** The sum of the squared distances between points and their centroids. */
export function inertia({ width, at }: Points, { labels, centroids }: Partition): number {
  return labels.reduce((sum, label, i) => sum + squaredDistance(at, i * width, centroids.at, label * width, width), 0);
}
