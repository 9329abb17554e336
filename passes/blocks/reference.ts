import { cloneGraph } from '../../ir/clone.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import { pick, type Feeds } from '../infra/executor.ts';
import { blocks } from './blocks.ts';
import { giveOut, sweep, type SweepContext } from './sweep.ts';

/** Names of values at one place of a graph. */
export interface Cut {
  /** What crosses the cut; at the end, the outputs. */
  readonly crossing: readonly string[];
  /** What these are made of: a kernel that adds and goes on in one step reads this instead. */
  readonly terms: readonly string[];
}

/** What a graph computes on one sample, where it is cut into blocks and at its outputs. */
export interface Reference {
  /** As it was then. */
  readonly graph: Graph;
  /** In order. */
  readonly cuts: readonly Cut[];
  /** Arrays by name: of the inputs, of what crosses a cut, of the outputs. */
  values(names: readonly string[]): Promise<Feeds>;
  close(): Promise<void>;
}

/** Runs a graph on one sample, a block at a time, and keeps in a spool what crosses the cuts. */
export async function referenceOf(graph: Graph, probe: Feeds, ctx: SweepContext, least?: number): Promise<Reference> {
  const copy = cloneGraph(graph);
  const parts = blocks(copy, least);
  const crossing = parts.slice(0, -1).map((_, k) => {
    const later = new Set(parts.slice(k + 1).flatMap((p) => p.inputs));
    return parts.slice(0, k + 1).flatMap((p) => p.outputs.filter((v) => later.has(v)));
  });
  const places = [...crossing, copy.outputs].map((values, k, all) => ({ values, terms: k === all.length - 1 ? [] : termsOf(values) }));
  const spool = ctx.services.spool();
  const stored = new Set<string>();
  const put = async (feeds: Feeds): Promise<void> => {
    for (const [name, array] of Object.entries(feeds)) if (!stored.has(name)) await spool.put(name, { [name]: array });
    for (const name of Object.keys(feeds)) stored.add(name);
  };
  await put(probe);
  const wanted = new Set(places.flatMap((p) => [...p.values, ...p.terms]));
  const names = new Set([...wanted].map((v) => v.name));
  await sweep(copy, [probe], ctx, {
    least,
    augment: (block, copies) => giveOut(block, copies, wanted),
    onSample: (_, values) => put(pick(values, names)),
  });
  return {
    graph: copy,
    cuts: places.map((p) => ({ crossing: p.values.map((v) => v.name), terms: p.terms.map((v) => v.name) })),
    async values(some) {
      // An output that is a constant is computed by nothing.
      const parts = await Promise.all(some.filter((name) => stored.has(name)).map((name) => spool.get(name)));
      return Object.assign({}, ...parts) as Feeds;
    },
    close: () => spool.close(),
  };
}

/** The computed operands of what makes some values. */
const termsOf = (values: readonly Value[]): readonly Value[] =>
  values.flatMap((v) => v.producer?.operands.flatMap((u) => (u.value?.producer ? [u.value] : [])) ?? []);
