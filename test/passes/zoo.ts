import { parseGraph, type Graph } from '../../ir/index.ts';
import type { Feeds } from '../../passes/index.ts';
import { fixtureNames, fixtureSamples, openFixture, randomFeed } from '../support/run.ts';

/** A graph to try passes on, with samples that calibrate it. */
export interface Subject {
  readonly name: string;
  readonly open: () => Graph;
  readonly samples: readonly Feeds[];
}

/** Text with weights that are random but for a few wide channels, as transformers have them. */
const mlp = `graph @mlp(%x: f32[B,S,8]) {
  const %g: f32[8] = [1.0, 0.5, 9.0, 1.0, 0.2, 1.0, 7.0, 1.5]
  const %b: f32[8] = [0.0, 3.0, -8.0, 0.5, 0.0, -0.5, 2.0, 0.0]
  const %w1: f32[8,16] = random 3
  const %b1: f32[16] = random 4
  const %w2: f32[16,8] = random 5
  const %wh: f32[8,3] = random 6
  %h: f32[B,S,8] = LayerNormalization(%x, %g, %b)
  %p: f32[B,S,16] = MatMul(%h, %w1)
  %s: f32[B,S,16] = Add(%p, %b1)
  %r: f32[B,S,16] = ACTIVATION(%s)
  %o: f32[B,S,8] = MatMul(%r, %w2)
  %y: f32[B,S,8] = Add(%x, %o)
  %z: f32[B,S,3] = MatMul(%y, %wh)
  return %z
}`;

const block = (heads: number, keyHeads: number, postNorm: boolean): string => `graph @block(%x: f32[B,S,16], %attention_mask: i64[B,S]) {
  const %g: f32[16] = [1.0, 0.5, 9.0, 1.0, 0.2, 1.0, 7.0, 1.5, 1.0, 1.0, 1.0, 12.0, 1.0, 0.7, 1.0, 1.0]
  const %b: f32[16] = [0.0, 3.0, -8.0, 0.5, 0.0, -0.5, 2.0, 0.0, 0.1, 0.0, 0.0, 1.0, 0.0, 0.0, 0.4, 0.0]
  const %wq: f32[16,${heads * 4}] = random 11
  const %wk: f32[16,${keyHeads * 4}] = random 12
  const %wv: f32[16,${keyHeads * 4}] = random 13
  const %bq: f32[${heads * 4}] = random 14
  const %bv: f32[${keyHeads * 4}] = random 15
  const %wo: f32[${heads * 4},16] = random 16
  const %w1: f32[16,24] = random 17
  const %b1: f32[24] = random 18
  const %w2: f32[24,16] = random 19
  const %wh: f32[16,3] = random 20
  const %one: f32[] = [1.0]
  const %low: f32[] = [-10000.0]
  const %axes: i64[2] = [1, 2]
  %kept: f32[B,S] = Cast(%attention_mask) {to = 1}
  %gone: f32[B,S] = Sub(%one, %kept)
  %bias: f32[B,S] = Mul(%gone, %low)
  %row: f32[B,1,1,S] = Unsqueeze(%bias, %axes)
  %sq: i64[1] = Shape(%x) {start = 1, end = 2}
  %both: i64[2] = Concat(%sq, %sq) {axis = 0}
  %mask: f32[B,1,S,S] = Expand(%row, %both)
  %h: f32[B,S,16] = LayerNormalization(%x, %g, %b)
  %q0: f32[B,S,${heads * 4}] = MatMul(%h, %wq)
  %q: f32[B,S,${heads * 4}] = Add(%q0, %bq)
  %k: f32[B,S,${keyHeads * 4}] = MatMul(%h, %wk)
  %v0: f32[B,S,${keyHeads * 4}] = MatMul(%h, %wv)
  %v: f32[B,S,${keyHeads * 4}] = Add(%v0, %bv)
  %c: f32[B,S,${heads * 4}] = Attention(%q, %k, %v, %mask) {q_num_heads = ${heads}, kv_num_heads = ${keyHeads}}
  %o: f32[B,S,16] = MatMul(%c, %wo)
  %y: f32[B,S,16] = Add(${postNorm ? '%h' : '%x'}, %o)
  %n: f32[B,S,16] = LayerNormalization(%y, %g, %b)
  %p: f32[B,S,24] = MatMul(%n, %w1)
  %s: f32[B,S,24] = Add(%p, %b1)
  %r: f32[B,S,24] = Relu(%s)
  %m: f32[B,S,16] = MatMul(%r, %w2)
  %e: f32[B,S,16] = Add(${postNorm ? '%n' : '%y'}, %m)
  %z: f32[B,S,3] = MatMul(%e, %wh)
  return %z
}`;

const plain = (channels: number): readonly Feeds[] => [1, 2, 3].map((s) => ({ x: randomFeed([1, 4 + s, channels], s) }));
/** The last sample is padded. */
export const maskedSamples: readonly Feeds[] = [1, 2, 3].map((s) => ({
  x: randomFeed([2, 6, 16], s),
  attention_mask: { dtype: 'i64', shape: [2, 6], data: BigInt64Array.from({ length: 12 }, (_, i) => (s === 3 && i > 8 ? 0n : 1n)) },
}));

const text = (name: string, source: string, samples: readonly Feeds[]): Subject => ({ name, open: () => parseGraph(source), samples });

export const textSubjects: readonly Subject[] = [
  text('mlp with relu', mlp.replace('ACTIVATION', 'Relu'), plain(8)),
  text('mlp with gelu', mlp.replace('ACTIVATION', 'Gelu'), plain(8)),
  text('pre-LN block', block(4, 4, false), maskedSamples),
  text('post-LN block', block(4, 4, true), maskedSamples),
  text('block with shared key heads', block(4, 2, false), maskedSamples),
];

export const subjects: readonly Subject[] = [
  ...textSubjects,
  ...fixtureNames.map((name) => ({ name, open: () => openFixture(name), samples: fixtureSamples(name, 3) })),
];
export const subject = (name: string): Subject => subjects.find((s) => s.name === name)!;
