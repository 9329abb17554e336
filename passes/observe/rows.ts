import { int } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { fail } from '../../ir/diagnostics.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import { Observer } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { int64s } from '../../ir/tensor.ts';
import { dtypes, tensorType } from '../../ir/types.ts';
import type { Feeds } from '../infra/executor.ts';
import type { Reduction, Rows } from '../infra/reduction.ts';

export const observersOf = (graph: Graph): readonly Observer[] => [...graph.nodes].flatMap((n) => viewAs(Observer, n) ?? []);

/** Has a graph give out the shape of what every observer sees; gives what reads the shapes, by the key of the site. */
export function addShapes(graph: Graph): (outputs: Feeds) => ReadonlyMap<string, readonly number[]> {
  const build = Builder.atEnd(graph);
  const names = observersOf(graph).map(
    ({ x, key }) => [key, outputOf(graph, build.value('Shape', [x], {}, tensorType('i64', [null])))] as const,
  );
  return (outputs) => new Map(names.map(([key, name]) => [key, Array.from(outputs[name]!.data, Number)] as const));
}

/** What is seen at a site: how many channels, and whether the mask has one element for each token. */
export interface Seen {
  readonly channels: number;
  readonly masked: boolean;
}

/** What one sample gave at one site. */
export interface Reduced {
  readonly observer: Observer;
  /** Without padding. */
  readonly tokens: number;
  /** Whether every element is a number. */
  readonly isFinite: boolean;
  /** What a reduction computed, by the names of its `emit`. */
  readonly results: (reduction: Reduction<unknown>) => Readonly<Record<string, Float32Array>>;
}

/**
 * Has a graph give out what the reductions compute at every observer that has been seen; gives what reads the results of a sample.
 * `mask` ([batch, seq], 0 for padding) takes padding out.
 */
export function addReductions(
  graph: Graph,
  wanted: readonly Reduction<unknown>[],
  seen: ReadonlyMap<string, Seen>,
  mask: Value | null,
): (outputs: Feeds) => readonly Reduced[] {
  const build = Builder.atEnd(graph);
  let keep: Value | null = null;
  const keepIn = (rows: Value): Value | null => (keep ??= mask && maskColumn(build, mask, rows));
  const readers = observersOf(graph).flatMap((observer) => {
    const at = seen.get(observer.key);
    return at ? [addAt(build, observer, wanted, at.channels, at.masked ? keepIn : () => null)] : [];
  });
  return (outputs) => readers.map((read) => read(outputs));
}

function addAt(
  build: Builder,
  observer: Observer,
  wanted: readonly Reduction<unknown>[],
  channels: number,
  keepIn: (rows: Value) => Value | null,
): (outputs: Feeds) => Reduced {
  const type = tensorType('f32', [null, channels]);
  const all = build.value('Reshape', [observer.x, build.ints('axes', [-1, channels])], {}, type);
  const keep = keepIn(all);
  const rows = rowsOf(build, all, channels, keep);
  // Each by a copy of its own, because reductions may share a value.
  const give = (value: Value): string => outputOf(build.graph, build.value('Identity', [value], {}, tensorType('f32', null)));
  const tokens = give(countOf(build, rows, keep));
  const sums = give(build.value('ReduceSum', [rows.filled(0), build.ints('axes', [0])], { keepdims: int(0) }));
  const names = new Map(
    wanted.map((r) => [r.name, Object.entries(r.emit(rows)).map(([part, value]) => [part, give(value)] as const)] as const),
  );
  return (outputs) => ({
    observer,
    tokens: floatsOf(outputs, tokens)[0]!,
    isFinite: floatsOf(outputs, sums).every(Number.isFinite),
    results: (r) => Object.fromEntries(names.get(r.name)!.map(([part, name]) => [part, floatsOf(outputs, name)] as const)),
  });
}

/** Has a graph give out a value, under the value's name. */
function outputOf(graph: Graph, value: Value): string {
  graph.addOutput(value);
  return value.name;
}

function floatsOf(outputs: Feeds, name: string): Float32Array {
  const data = outputs[name]?.data;
  return data instanceof Float32Array ? data : fail('QC9001', `a reduction gave no f32 array %${name}`);
}

function rowsOf(build: Builder, rows: Value, channels: number, keep: Value | null): Rows {
  const { type } = rows;
  const filled = new Map<number, Value>();
  return {
    build,
    channels,
    filled(fill) {
      if (!keep) return rows;
      const value = filled.get(fill) ?? build.value('Where', [keep, rows, build.scalar('fill', fill)], {}, type);
      filled.set(fill, value);
      return value;
    },
  };
}

/** How many tokens are no padding. */
function countOf(build: Builder, rows: Rows, keep: Value | null): Value {
  const toFloat = { to: int(dtypes.indexOf('f32') + 1) };
  if (keep) return build.value('ReduceSum', [build.value('Cast', [keep], toFloat)], { keepdims: int(0) });
  const shape = build.value('Shape', [rows.filled(0)], {}, tensorType('i64', [2]));
  return build.value('Cast', [build.value('Gather', [shape, build.constant('first', int64s([], [0]))])], toFloat);
}

/** A mask [batch, past + seq] as bool [tokens, 1], without the tokens in caches. One of other axes is taken as it is. */
function maskColumn(build: Builder, mask: Value, rows: Value): Value {
  const present = mask.type?.shape?.length === 2 ? lastTokens(build, mask, rows) : mask;
  const flags = build.value('Cast', [present], { to: int(dtypes.indexOf('bool') + 1) });
  return build.value('Reshape', [flags, build.ints('axes', [-1, 1])], {}, tensorType('bool', [null, 1]));
}

/** The last columns of [batch, past + seq], as many as each of the sequences has rows. */
function lastTokens(build: Builder, mask: Value, rows: Value): Value {
  const first = { start: int(0), end: int(1) };
  const [count, batch] = [rows, mask].map((v) => build.value('Shape', [v], first, tensorType('i64', [1])));
  const start = build.value('Neg', [build.value('Div', [count!, batch!])]);
  return build.value('Slice', [mask, start, build.ints('end', [2 ** 31 - 1]), build.ints('axis', [1])], {}, mask.type);
}
