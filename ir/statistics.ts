import { int, ints, tensor, type Attribute, type Attributes } from './attributes.ts';
import { applyToRange, type ChannelTransform } from './channel.ts';
import { dense, floats } from './tensor.ts';

export interface ChannelRange {
  readonly min: Float32Array;
  readonly max: Float32Array;
}

/** Counts of f32 values by sign, exponent and the first four bits of the fraction: about 6 % wide bins that merge by addition. */
export type Histogram = ReadonlyMap<number, number>;

/** What calibration saw at one site: channels are the last axis, tokens all the others. */
export interface Statistics {
  readonly samples: number;
  readonly tokens: number;
  /** Extremes over everything. */
  readonly range: ChannelRange;
  /**
   * Moving average of the samples' extremes: sample i of n counts 0.99^(n - i), and the weights sum to 1. RPTQ's `ema_minmax` starts at
   * the first sample instead, which then weighs 73 % at 32 samples.
   */
  readonly ema: ChannelRange;
  /** Smallest and largest element of every token, for token-wise clipping; null once the site has changed its basis. */
  readonly tokenExtremes: { readonly min: Histogram; readonly max: Histogram } | null;
}

export const emaDecay = 0.99;

/** The bin of a value; both zeros are in one, whichever of them a reduction gives. */
const bits = new DataView(new ArrayBuffer(4));
export function binOf(x: number): number {
  bits.setFloat32(0, x + 0);
  return bits.getUint32(0) >>> 19;
}

/** The middle of a bin. */
export function binCentre(bin: number): number {
  bits.setUint32(0, ((bin << 19) | (1 << 18)) >>> 0);
  return bits.getFloat32(0);
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

const zip = (a: Float32Array, b: Float32Array, f: (x: number, y: number) => number) => a.map((x, i) => f(x, b[i]!));
const widest = (a: ChannelRange, b: ChannelRange): ChannelRange => ({ min: zip(a.min, b.min, Math.min), max: zip(a.max, b.max, Math.max) });

/** The statistics of one sample. */
export const ofSample = (range: ChannelRange, tokens: number, extremes: Statistics['tokenExtremes']): Statistics => ({
  samples: 1,
  tokens,
  range,
  ema: range,
  tokenExtremes: extremes,
});

/** Statistics of the samples of `a` followed by those of `b`; associative, so shards may be merged in any grouping. */
export function merge(a: Statistics, b: Statistics): Statistics {
  // The weights of n samples sum to 1 + 0.99 + .. + 0.99^(n - 1) = (1 - 0.99^n) / 0.01, and those of `a` are older by the samples of `b`.
  const [older, newer] = [(1 - emaDecay ** a.samples) * emaDecay ** b.samples, 1 - emaDecay ** b.samples];
  const joined = (end: keyof ChannelRange): Float32Array =>
    a.ema[end].map((e, i) => (older * e + newer * b.ema[end][i]!) / (older + newer));
  return {
    samples: a.samples + b.samples,
    tokens: a.tokens + b.tokens,
    range: widest(a.range, b.range),
    ema: { min: joined('min'), max: joined('max') },
    tokenExtremes:
      a.tokenExtremes && b.tokenExtremes
        ? { min: add(a.tokenExtremes.min, b.tokenExtremes.min), max: add(a.tokenExtremes.max, b.tokenExtremes.max) }
        : null,
  };
}

function add(a: Histogram, b: Histogram): Histogram {
  const sum = new Map(a);
  for (const [bin, n] of b) sum.set(bin, (sum.get(bin) ?? 0) + n);
  return sum;
}

/** The statistics after `t`: ranges move in closed form, so a change of basis needs no new calibration. */
export function moved(s: Statistics, t: ChannelTransform): Statistics {
  const move = (r: ChannelRange): ChannelRange => applyToRange(t, r.min, r.max);
  const sameExtremes = !t.scale && !t.shift;
  return { ...s, range: move(s.range), ema: move(s.ema), tokenExtremes: sameExtremes ? s.tokenExtremes : null };
}

/** The attributes that hold `s` on a `qc.Observer`. */
export function statisticsAttributes(s: Statistics): Attributes {
  const vector = (v: Float32Array): Attribute => tensor(dense([v.length], v));
  const pairs = (h: Histogram): Attribute => ints([...h].sort(([a], [b]) => a - b).flat());
  return {
    samples: int(s.samples),
    tokens: int(s.tokens),
    min: vector(s.range.min),
    max: vector(s.range.max),
    ema_min: vector(s.ema.min),
    ema_max: vector(s.ema.max),
    ...(s.tokenExtremes ? { token_min: pairs(s.tokenExtremes.min), token_max: pairs(s.tokenExtremes.max) } : {}),
  };
}

/** Reads what `statisticsAttributes` wrote; null while the observer has seen nothing. `min` and `max` alone are enough. */
export function statisticsOf(attributes: ReadonlyMap<string, Attribute>): Statistics | null {
  const vector = (name: string): Float32Array | null => {
    const a = attributes.get(name);
    return a?.kind === 'tensor' ? floats(a.value) : null;
  };
  const count = (name: string, otherwise: number): number => {
    const a = attributes.get(name);
    return a?.kind === 'int' ? Number(a.value) : otherwise;
  };
  const histogram = (name: string): Histogram | null => {
    const a = attributes.get(name);
    if (a?.kind !== 'ints') return null;
    return new Map(a.value.flatMap((bin, i) => (i % 2 === 0 ? [[Number(bin), Number(a.value[i + 1])] as const] : [])));
  };
  const [min, max] = [vector('min'), vector('max')];
  if (!min || !max) return null;
  const range = { min, max };
  const [tokenMin, tokenMax] = [histogram('token_min'), histogram('token_max')];
  return {
    samples: count('samples', 1),
    tokens: count('tokens', 1),
    range,
    ema: { min: vector('ema_min') ?? min, max: vector('ema_max') ?? max },
    tokenExtremes: tokenMin && tokenMax ? { min: tokenMin, max: tokenMax } : null,
  };
}
