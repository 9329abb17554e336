import type { Scheme } from '../../ir/index.ts';
import type { Extents, Layer } from './extents.ts';

export interface MemorySettings {
  readonly scheme: Scheme;
  readonly batch: number;
  /** Tokens whose keys and values are kept, those of the present step included. */
  readonly seq: number;
  /** Tokens of one step: 1 when a token is generated, `seq` when a prompt is read. */
  readonly step: number;
  /** Bits of what stays in float. */
  readonly floatBits: 16 | 32;
}

/** Bytes. */
export interface Memory {
  /** Codes of the quantized linears, with a float scale and a zero point of one byte for each column. */
  readonly linears: number;
  /** Parameters that stay in float. */
  readonly others: number;
  /** Keys and values of all tokens of all sequences. */
  readonly cache: number;
  /** What the widest layer holds at once for the tokens of one step. */
  readonly activations: number;
  readonly total: number;
}

/** What a transformer takes when it runs: weights, the cache of keys and values, and the activations of one step. */
export function memoryOf({ linears, others, layers }: Extents, settings: MemorySettings): Memory {
  const { scheme, batch, seq, step, floatBits } = settings;
  const sum = (of: readonly number[]): number => of.reduce((a, b) => a + b, 0);
  const parameters = sum(linears.map(({ rows, columns }) => rows * columns));
  const scales = scheme.weights ? sum(linears.map(({ columns }) => columns)) * (floatBits / 8 + 1) : 0;
  const bits = { key: scheme.activations.key?.bits ?? floatBits, value: scheme.activations.value?.bits ?? floatBits };
  const ofToken = sum(layers.map((l) => l.key * bits.key + l.value * bits.value)) / 8;
  const parts = {
    linears: (parameters * (scheme.weights?.bits ?? floatBits)) / 8 + scales,
    others: (others * floatBits) / 8,
    cache: batch * seq * ofToken,
    activations: (Math.max(0, ...layers.map((l) => widest(l, step, seq))) * batch * floatBits) / 8,
  };
  return { ...parts, total: sum(Object.values(parts)) };
}

/**
 * The most values that a layer holds at once for one sequence. Attention: the residual stream, query, key, value and scores. The MLP: the
 * residual stream, its normalized copy and the inner value.
 */
function widest({ hidden, heads, query, key, value, inner }: Layer, step: number, seq: number): number {
  const attention = step * (hidden + query + key + value) + heads * step * seq;
  return Math.max(attention, step * (2 * hidden + inner));
}
