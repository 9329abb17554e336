import { inferTypes, sizeOf, type Graph, type Value } from '../../ir/index.ts';
import { attentionFed, attentionResult, attentionsOf, headsOf, isHead, linearsOf, type Linear } from '../../passes/index.ts';
import { tensorsOf } from '../inspect.ts';
import { raisedModel } from '../raised-model.ts';
import type { Extents, Layer } from './extents.ts';

/** Reads a model's graph, but not its weights, so a table that is stored twice counts twice. `qc inspect` names attentions that are not recognised. */
export async function extentsOfModel(path: string): Promise<Extents> {
  const { graph, ledger } = await raisedModel(path);
  inferTypes(graph);
  const linears = linearsOf(graph).filter((l) => !isHead(graph, l));
  const shapes = linears.map(({ weight }) => ({ rows: weight.constant!.shape[0]!, columns: weight.constant!.shape[1]! }));
  const quantized = shapes.reduce((n, { rows, columns }) => n + rows * columns, 0);
  const parameters = tensorsOf(graph).reduce((n, t) => n + (t.dtype.startsWith('f') ? sizeOf(t.shape) : 0), 0);
  const layers = layersOf(graph, linears);
  const present = ledger.entries.filter((e) => e.kind === 'attention').length;
  return { linears: shapes, others: parameters - quantized, layers, attentionsLeft: Math.max(0, present - layers.length) };
}

function layersOf(graph: Graph, linears: readonly Linear[]): readonly Layer[] {
  const inner = widestTogether(linears);
  return attentionsOf(graph).map((attention) => {
    const [query, key, value] = [0, 1, 2].map((i) => channelsOf(attention.input(i))) as [number, number, number];
    const out = linears.find((l) => attentionResult(l.input) === attention);
    const hidden = out?.weight.constant!.shape[1] ?? query;
    return { hidden, heads: headsOf(attention)?.queries ?? 1, query, key, value, inner };
  });
}

/** The most columns of linears that read the same value and feed no attention. */
function widestTogether(linears: readonly Linear[]): number {
  const columns = new Map<Value, number>();
  for (const { node, input, weight } of linears)
    if (!attentionFed(node.output)) columns.set(input, (columns.get(input) ?? 0) + weight.constant!.shape[1]!);
  return Math.max(0, ...columns.values());
}

/** The extent of the last axis; 0 where nothing is known of it. */
function channelsOf(value: Value | null): number {
  const last = value?.type?.shape?.at(-1);
  return typeof last === 'number' ? last : 0;
}
