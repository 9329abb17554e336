import type { Graph } from './graph.ts';
import type { Tensor } from './tensor.ts';

/** An attribute of a node. Integers are bigint in storage; views hand out numbers after a range check. */
export type Attribute =
  | { readonly kind: 'int'; readonly value: bigint }
  | { readonly kind: 'ints'; readonly value: readonly bigint[] }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'floats'; readonly value: readonly number[] }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'strings'; readonly value: readonly string[] }
  | { readonly kind: 'tensor'; readonly value: Tensor }
  | { readonly kind: 'graph'; readonly value: Graph }
  | { readonly kind: 'graphs'; readonly value: readonly Graph[] }
  /** What the IR has no words for (sparse tensors, type protos, lists of tensors): the importer's bytes, kept as they were. */
  | { readonly kind: 'opaque'; readonly value: Uint8Array };

export type Attributes = Readonly<Record<string, Attribute>>;

export const int = (value: number | bigint): Attribute => ({ kind: 'int', value: BigInt(value) });
export const ints = (value: Iterable<number | bigint>): Attribute => ({ kind: 'ints', value: Array.from(value, BigInt) });
export const float = (value: number): Attribute => ({ kind: 'float', value: Math.fround(value) });
export const string = (value: string): Attribute => ({ kind: 'string', value });
export const tensor = (value: Tensor): Attribute => ({ kind: 'tensor', value });

/** The graphs that an attribute holds. */
export const graphsOf = (a: Attribute): readonly Graph[] => (a.kind === 'graph' ? [a.value] : a.kind === 'graphs' ? a.value : []);
