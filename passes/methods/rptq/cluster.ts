import { kmeans } from 'ml-kmeans';
import { orderTies, type Freedom } from '../../../ir/freedom.ts';
import { random } from '../../../ir/text/numbers.ts';
import { seeds } from './seeding.ts';

/** An order of channels and the sizes of the runs that it puts together. */
export interface Clustering {
  readonly order: readonly number[];
  readonly sizes: readonly number[];
}

export interface AlignedClustering extends Clustering {
  /** Channels that alignment put into a wider cluster than their own. */
  readonly moved: number;
}

/** Starts of k-means; the one with the least inertia wins, as in RPTQ's code (scikit-learn's n_init). */
const restarts = 10;

/** A start ends when the squares of what the centres move by sum up to less than this share of the points' variance, as there (its tol). */
const relativeTolerance = 1e-4;

/**
 * Puts channels of similar range side by side. `features[i]` are the coordinates of channel i (max and min, or those of several
 * values that share the order). Clusters come narrow to wide; within a cluster channels keep their order, so equal data gives
 * equal bytes. Where points coincide, there are fewer clusters than requested.
 */
export function cluster(features: readonly (readonly number[])[], clusters: number, seed: number): Clustering {
  const labels = bestLabels(features, Math.min(clusters, distinct(features)), seed);
  const members = new Map<number, number[]>();
  labels.forEach((label, i) => members.set(label, [...(members.get(label) ?? []), i]));
  const width = (channels: readonly number[]) => Math.max(...channels.map((i) => spread(features[i]!)));
  const sorted = [...members.values()].map((m) => [width(m), m] as const).sort(([a, x], [b, y]) => a - b || x[0]! - y[0]!);
  return { order: sorted.flatMap(([, m]) => m), sizes: sorted.map(([, m]) => m.length) };
}

const distinct = (points: readonly (readonly number[])[]): number => new Set(points.map((p) => p.join())).size;
const spread = (point: readonly number[]): number => Math.max(...point) - Math.min(...point);

function bestLabels(features: readonly (readonly number[])[], clusters: number, seed: number): readonly number[] {
  if (clusters <= 1) return features.map(() => 0);
  // ml-kmeans measures convergence in absolute units, so the points are brought to unit size; distances keep their proportions.
  const size = Math.max(...features.flat().map(Math.abs), 1e-30);
  const points = features.map((p) => p.map((x) => x / size));
  const tolerance = (relativeTolerance * meanVariance(points)) / clusters;
  const flat = { width: points[0]!.length, at: Float64Array.from(points.flat()) };
  const runs = Array.from({ length: restarts }, (_, r) => {
    const next = random(seed * restarts + r);
    // The seeding of ml-kmeans takes three times as long as all that follows.
    const initialization = seeds(flat, clusters, () => (next() + 1) / 2);
    return kmeans(points, clusters, { initialization, maxIterations: 300, tolerance });
  });
  const inertia = (labels: readonly number[], centroids: readonly (readonly number[])[]) =>
    points.reduce((sum, p, i) => sum + p.reduce((d, x, k) => d + (x - centroids[labels[i]!]![k]!) ** 2, 0), 0);
  const scored = runs.map((r) => [inertia(r.clusters, r.centroids), r.clusters] as const);
  return scored.reduce((best, next) => (next[0] < best[0] ? next : best))[1];
}

/** The variance of a coordinate, on average. */
function meanVariance(points: readonly (readonly number[])[]): number {
  const [first = []] = points;
  const variances = first.map((_, k) => {
    const mean = points.reduce((sum, p) => sum + p[k]!, 0) / points.length;
    return points.reduce((sum, p) => sum + (p[k]! - mean) ** 2, 0) / points.length;
  });
  return variances.reduce((a, b) => a + b, 0) / variances.length;
}

/**
 * Moves the boundaries of a clustering to multiples of `step`: channels left over at the end of a narrow cluster join the wider
 * one after it. The order stays.
 */
export function aligned({ order, sizes }: Clustering, step: number): AlignedClustering {
  let end = 0;
  let cut = 0;
  let moved = 0;
  const runs: number[] = [];
  sizes.forEach((n, g) => {
    end += n;
    const boundary = g === sizes.length - 1 ? order.length : end - (end % step);
    moved += end - Math.max(boundary, end - n);
    if (boundary > cut) runs.push(boundary - cut);
    cut = Math.max(cut, boundary);
  });
  return { order, sizes: runs, moved };
}

/**
 * Clusters each cell of a freedom by itself; channels that follow a leader are clustered with it and ordered like it. A run of channels that
 * share a scale goes on as long as places come in order in cells of one leader, so that it has whole pairs of neighbours.
 */
export function clusterWithin(
  features: readonly (readonly number[])[],
  freedom: Freedom,
  clusters: number,
  { align, seed }: { readonly align: number; readonly seed: number },
): AlignedClustering {
  const ties = orderTies(freedom);
  const done = new Map<number, Clustering>();
  const order: number[] = [];
  const places: Place[] = [];
  for (const [cell, channels] of channelsByCell(features.length, freedom)) {
    const leader = ties ? (freedom.cells?.[ties[channels[0]!]!] ?? cell) : cell;
    const local = done.get(leader) ?? cluster(pooled(features, ties, channels), clusters, seed);
    done.set(leader, local);
    const runs = local.sizes.flatMap((n, run) => new Array<number>(n).fill(run));
    local.order.forEach((i, at) => {
      order[channels[at]!] = channels[i]!;
      places[channels[at]!] = { leader, run: runs[at]!, at };
    });
  }
  // Cells bind the order, not the scales: a cluster may end in the next cell.
  return aligned({ order, sizes: runsOf(places) }, align);
}

function channelsByCell(size: number, { cells }: Freedom): ReadonlyMap<number, readonly number[]> {
  const found = new Map<number, number[]>();
  for (let i = 0; i < size; i++) {
    const cell = cells?.[i] ?? 0;
    found.set(cell, [...(found.get(cell) ?? []), i]);
  }
  return found;
}

/** Where a channel came to lie: the cell of its leader, the cluster in it, and how many channels of its own cell are in front. */
interface Place {
  readonly leader: number;
  readonly run: number;
  readonly at: number;
}

function runsOf(places: readonly Place[]): readonly number[] {
  const sizes: number[] = [];
  places.forEach((place, i) => {
    const before = places[i - 1];
    const goesOn = before && before.leader === place.leader && before.run === place.run && before.at <= place.at;
    if (goesOn) sizes[sizes.length - 1]!++;
    else sizes.push(1);
  });
  return sizes;
}

/** The features of some channels, each widened by those of its followers: maxima at even places, minima at odd ones. */
function pooled(
  features: readonly (readonly number[])[],
  ties: Uint32Array | null,
  channels: readonly number[],
): readonly (readonly number[])[] {
  if (!ties) return channels.map((i) => features[i]!);
  return channels.map((i) => {
    const alike = features.filter((_, j) => ties[j] === ties[i]);
    return features[i]!.map((_, k) => (k % 2 === 0 ? Math.max : Math.min)(...alike.map((p) => p[k]!)));
  });
}
