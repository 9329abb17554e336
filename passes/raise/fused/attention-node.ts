import { float, int } from '../../../ir/attributes.ts';
import type { Builder } from '../../../ir/builder.ts';
import type { Value } from '../../../ir/graph.ts';
import { Attention } from '../../../ir/ops/generated.ts';
import { isRead } from '../../../ir/pattern.ts';

/** An Attention to be made in place of a node with its results: [batch, seq, heads * width], and caches. */
export interface AttentionParts {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  readonly mask: Value | null;
  /** [batch, key heads, past, width]; both or none. */
  readonly past: readonly [key: Value, value: Value] | null;
  readonly heads: number;
  readonly keyHeads: number;
  /** 0 for the usual one, 1 / sqrt(width). */
  readonly scale: number;
  readonly softcap: number;
  readonly name: string;
}

/** What an Attention gives: its result, and the caches if they are asked for. */
export interface AttentionResults {
  readonly y: Value;
  readonly key: Value | null;
  readonly value: Value | null;
}

/** Makes the node, whose results are named and typed like those that they replace. */
export function makeAttention(build: Builder, parts: AttentionParts, like: AttentionResults): AttentionResults {
  const attributes = {
    q_num_heads: int(parts.heads),
    kv_num_heads: int(parts.keyHeads),
    ...(parts.scale === 0 ? {} : { scale: float(parts.scale) }),
    ...(parts.softcap === 0 ? {} : { softcap: float(parts.softcap) }),
  };
  const inputs = [parts.q, parts.k, parts.v, parts.mask, ...(parts.past ?? [])];
  const cached = isRead(like.key) || isRead(like.value);
  const wanted = [like.y, ...(cached ? [like.key!, like.value!] : [])];
  const results = wanted.map(({ name, type }, i) => ({ name: build.graph.freshName(`${name}${['', '.key', '.value'][i]}`), type }));
  const used = inputs.slice(0, inputs.findLastIndex((v) => v !== null) + 1);
  const [y, key = null, value = null] = build.insert({
    op: Attention.schema.op,
    inputs: used,
    attributes,
    results,
    name: parts.name,
  }).outputs;
  return { y: y!, key, value };
}

/** Puts the results of an Attention in place of those that they are like. */
export function replaceResults(build: Builder, from: AttentionResults, to: AttentionResults): void {
  build.graph.replace(from.y, to.y);
  if (isRead(from.key)) build.graph.replace(from.key!, to.key!);
  if (isRead(from.value)) build.graph.replace(from.value!, to.value!);
}
