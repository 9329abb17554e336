import { permutation, compose, type ChannelTransform } from '../../ir/channel.ts';
import type { Graph } from '../../ir/graph.ts';

/** A cache that lies in another basis than that of the model which was compiled. */
export interface MovedCache {
  /** The input and the output of the model that are the cache. */
  readonly past: string;
  readonly present: string;
  /** Of every token, taken as [heads * width]: from the basis of the model that was compiled to that of the cache. */
  readonly transform: ChannelTransform;
}

const prefix = 'qc.cache.';

/** Whether a key of metadata tells the basis of a cache. */
export const isCacheKey = (key: string): boolean => key.startsWith(prefix);

/** Writes it into the metadata, as `qc.cache.INPUT`. */
export function recordCache(graph: Graph, { past, present, transform }: MovedCache): void {
  const { size, perm, scale, shift } = transform;
  const parts = { perm, scale, shift };
  const written = Object.entries(parts).flatMap(([name, part]) => (part ? [[name, [...part]] as const] : []));
  graph.metadata.set(`${prefix}${past}`, JSON.stringify({ present, size, ...Object.fromEntries(written) }));
}

/** The caches that metadata says lie in another basis. */
export const movedCaches = (metadata: ReadonlyMap<string, string>): readonly MovedCache[] =>
  [...metadata].flatMap(([key, text]) => (isCacheKey(key) ? [read(key.slice(prefix.length), text)] : []));

interface Written {
  readonly present: string;
  readonly size: number;
  readonly perm?: readonly number[];
  readonly scale?: readonly number[];
  readonly shift?: readonly number[];
}

function read(past: string, text: string): MovedCache {
  const { present, size, perm, scale, shift } = JSON.parse(text) as Written;
  const affine = { size, perm: null, scale: scale ? Float64Array.from(scale) : null, shift: shift ? Float64Array.from(shift) : null };
  return { past, present, transform: perm ? compose(permutation(perm), affine) : affine };
}
