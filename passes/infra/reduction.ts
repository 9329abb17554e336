import type { Attribute, Attributes } from '../../ir/attributes.ts';
import type { Builder } from '../../ir/builder.ts';
import type { ChannelTransform } from '../../ir/channel.ts';
import type { Value } from '../../ir/graph.ts';

/** What a reduction reduces: one sample's values at a site, with a row for each token. */
export interface Rows {
  readonly build: Builder;
  readonly channels: number;
  /** f32 [tokens, channels], with `x` in every element of a token that the attention mask marks as padding. */
  filled(x: number): Value;
}

/** What was seen of this many samples and tokens. */
export interface Part<T> {
  readonly samples: number;
  /** Without padding. */
  readonly tokens: number;
  readonly value: T;
}

/**
 * A statistic of the values at a site, as data. ONNX Runtime computes it for each sample, parts merge in the order of the samples, and the
 * result is kept in attributes of the observer. Passes name the reductions that they read in `observes`.
 */
export interface Reduction<T> {
  /** kebab-case. One name is one reduction. */
  readonly name: string;
  /** Adds what is computed of one sample: f32 results of any shape, each under a name. */
  emit(rows: Rows): Readonly<Record<string, Value>>;
  /** The statistic of one sample with this many tokens, at least one, from what `emit` computed. */
  ofSample(results: Readonly<Record<string, Float32Array>>, tokens: number): T;
  /** The statistic of the samples of `a` followed by those of `b`. Associative up to rounding. */
  merge(a: Part<T>, b: Part<T>): T;
  /** The statistic of one sample of which `a` and `b` are parts, one behind the other; by default as if they were samples. */
  join?(a: Part<T>, b: Part<T>): T;
  /** The statistic after a change of basis; null where it cannot be known from this one. */
  moved(value: T, t: ChannelTransform): T | null;
  /** As attributes of an observer, whose names no other reduction uses. Large tensors end in a file. */
  write(value: T): Attributes;
  /** What `write` wrote; null where it is missing. */
  read(attributes: ReadonlyMap<string, Attribute>): T | null;
}
