import type { Graph, Node, Value } from '../../ir/graph.ts';
import type { Site } from '../../ir/ops/qc.ts';
import { readsOf } from '../../ir/slice.ts';
import { attentionFed } from '../model/attentions.ts';
import { linearsOf, type Linear } from '../model/linears.ts';

/** What the loss of a site is measured on: its linears, what follows them, and the values that are compared. */
export interface LossRegion {
  readonly linears: readonly Linear[];
  readonly nodes: readonly Node[];
  readonly results: readonly Value[];
  /** What the region reads beside the site and constants: the attention mask. */
  readonly others: readonly Value[];
  /** Whether a result depends on other tokens than its own, as that of an attention does. */
  readonly mixesTokens: boolean;
}

/** The attention's result when the site's linears are its query, key and value; the products themselves otherwise. */
export function lossRegion(graph: Graph, site: Site): LossRegion {
  const linears = linearsOf(graph).filter((l) => l.input === site.y);
  const fed = linears.map((l) => attentionFed(l.node.output));
  const attention = fed[0] ?? null;
  const whole = attention !== null && linears.length === 3 && fed.every((a) => a === attention);
  const results = whole ? [attention.output] : linears.map((l) => l.node.output);
  const nodes = between(graph, linears, whole ? attention : null);
  const made = new Set(nodes.flatMap((n) => n.outputs));
  const others = new Set(nodes.flatMap(readsOf).filter((v) => v !== site.y && !v.constant && !made.has(v)));
  return { linears, nodes, results, others: [...others], mixesTokens: whole };
}

/** The linears and, up to the attention, what stands between them and it; in the order of the graph. */
function between(graph: Graph, linears: readonly Linear[], attention: Node | null): readonly Node[] {
  const inside = new Set(linears.map((l) => l.node));
  if (attention) for (const { node } of linears) for (let n = node; n !== attention; n = n.output.soleUse!.node) inside.add(n);
  if (attention) inside.add(attention);
  return [...graph.nodes].filter((n) => inside.has(n));
}
