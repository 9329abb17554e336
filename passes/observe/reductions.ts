import { int } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import { Observer } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { dtypes, tensorType } from '../../ir/types.ts';

/** Which reductions of a site's tokens a slice gives out, each as an output named `key` + suffix. */
export const reductions = {
  min: ' min',
  max: ' max',
  sum: ' sum',
  tokenMin: ' token min',
  tokenMax: ' token max',
  shape: ' shape',
} as const;

/** Adds the shape of what every observer sees as an output. */
export function addShapes(graph: Graph): void {
  const build = Builder.atEnd(graph);
  for (const { x, key } of observersOf(graph))
    graph.addOutput(build.value('Shape', [x], {}, tensorType('i64', [null]), `${key}${reductions.shape}`));
}

const observersOf = (graph: Graph): readonly Observer[] => [...graph.nodes].flatMap((n) => viewAs(Observer, n) ?? []);

/** What is seen at a site: how many channels, and whether the mask has one element for each token. */
export interface Seen {
  readonly channels: number;
  readonly masked: boolean;
}

/**
 * Adds the reductions of every observer of a slice as outputs, computed by ONNX Runtime: extremes and sum of each channel over
 * the tokens, extremes of each token over the channels. `mask` ([batch, seq], 0 for padding) takes padding out of them all.
 */
export function addReductions(graph: Graph, seen: ReadonlyMap<string, Seen>, mask: Value | null): void {
  const build = Builder.atEnd(graph);
  const keep = mask && maskColumn(build, mask);
  for (const observer of observersOf(graph)) {
    const at = seen.get(observer.key);
    if (at) addFor(build, observer, at.channels, at.masked ? keep : null);
  }
}

function addFor(build: Builder, observer: Observer, channels: number, keep: Value | null): void {
  const rows = build.value('Reshape', [observer.x, build.ints('axes', [-1, channels])], {}, tensorType('f32', [null, channels]));
  const without = (x: number): Value => (keep ? build.value('Where', [keep, rows, build.scalar('fill', x)], {}, rows.type) : rows);
  const reduce = (op: string, from: Value, axis: number, suffix: string): void => {
    const inputs = [from, build.ints('axes', [axis])];
    build.graph.addOutput(build.value(op, inputs, { keepdims: int(0) }, tensorType('f32', [null]), `${observer.key}${suffix}`));
  };
  const [high, low] = [without(Infinity), without(-Infinity)];
  reduce('ReduceMin', high, 0, reductions.min);
  reduce('ReduceMax', low, 0, reductions.max);
  reduce('ReduceSum', without(0), 0, reductions.sum);
  reduce('ReduceMin', high, 1, reductions.tokenMin);
  reduce('ReduceMax', low, 1, reductions.tokenMax);
}

/** A mask [batch, seq] as bool [tokens, 1]. */
function maskColumn(build: Builder, mask: Value): Value {
  const flags = build.value('Cast', [mask], { to: int(dtypes.indexOf('bool') + 1) });
  return build.value('Reshape', [flags, build.ints('axes', [-1, 1])], {}, tensorType('bool', [null, 1]));
}
