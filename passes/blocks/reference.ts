import { cloneGraph } from '../../ir/clone.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import type { Feeds } from '../infra/executor.ts';
import { blocks } from './blocks.ts';
import { sweep, type SweepContext } from './sweep.ts';

/** What a graph computes on one sample, where it is cut into blocks and at its outputs. */
export interface Reference {
  /** As it was then. */
  readonly graph: Graph;
  /** Names of the values that cross the cuts, in order; those of the outputs come last. */
  readonly cuts: readonly (readonly string[])[];
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
  const kept: readonly (readonly Value[])[] = [...crossing, copy.outputs];
  const spool = ctx.services.spool();
  const stored = new Set<string>();
  const put = async (feeds: Feeds): Promise<void> => {
    for (const [name, array] of Object.entries(feeds)) if (!stored.has(name)) await spool.put(name, { [name]: array });
    for (const name of Object.keys(feeds)) stored.add(name);
  };
  await put(probe);
  const wanted = new Set(kept.flat());
  const names = new Set([...wanted].map((v) => v.name));
  await sweep(copy, [probe], ctx, {
    least,
    augment(block, twin) {
      for (const v of wanted) if (twin.get(v)?.producer && !block.outputs.includes(twin.get(v)!)) block.addOutput(twin.get(v)!);
    },
    onSample: (_, values) => put(Object.fromEntries(Object.entries(values).filter(([name]) => names.has(name)))),
  });
  return {
    graph: copy,
    cuts: kept.map((values) => values.map((v) => v.name)),
    async values(some) {
      // An output that is a constant is computed by nothing.
      const parts = await Promise.all(some.filter((name) => stored.has(name)).map((name) => spool.get(name)));
      return Object.assign({}, ...parts) as Feeds;
    },
    close: () => spool.close(),
  };
}
