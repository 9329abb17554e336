import { Builder } from '../../../ir/builder.ts';
import { isMatrix } from '../../../ir/constants.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { If } from '../../../ir/ops/generated.ts';
import { refuse } from '../../../ir/pattern.ts';
import type { RewriteRule } from '../../../ir/rewrite.ts';
import { Extents } from './extents.ts';
import { Merge } from './merge.ts';
import { ownValues } from './own-values.ts';

/**
 * A decoder with a cache and the same one without are one decoder: an If whose branches read the same weights becomes what both compute, with
 * caches that are empty where the first branch does not run. Exact for inputs of the types that the model declares.
 */
export const mergeBranches: RewriteRule = {
  name: 'merge-branches',
  apply(node, graph) {
    const [then, otherwise] = ['then_branch', 'else_branch'].map((name) => bodyOf(node, name));
    if (node.op !== If.schema.op || node.graph !== graph || !then || !otherwise || !shareWeights(then, otherwise)) return 'no-match';
    const nested = [...then.nodes, ...otherwise.nodes].find((n) => n.bodies.length > 0);
    if (nested) return refuse(`its branches share weights, and one holds ${nested.op}, which has branches, too`, node.outputs[0]!);
    const before = readers(graph);
    const branches = { condition: node.input(0)!, then, otherwise, own: ownValues(node, then, otherwise) };
    const merge = new Merge(Builder.before(node), branches, new Extents(branches));
    const made = node.outputs.map((_, i) => merge.merged(then.outputs[i]!, otherwise.outputs[i]!));
    const twice = readTwice([readers(then), readers(otherwise)], readers(graph), before);
    if (twice) return refuse(`its branches read the weight %${twice.name} in different ways`, twice);
    node.outputs.forEach((from, i) => graph.replace(from, made[i]!));
    graph.erase(node);
    return 'applied';
  },
};

/** A branch of an If. */
export function bodyOf(node: Node, name: string): Graph | null {
  const attribute = node.attributes.get(name);
  return attribute?.kind === 'graph' ? attribute.value : null;
}

/** How many nodes of a graph read each matrix. */
function readers(graph: Graph): ReadonlyMap<Value, number> {
  const counts = new Map<Value, number>();
  for (const node of graph.nodes)
    for (const { value } of node.operands) if (value && isMatrix(value)) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

function shareWeights(then: Graph, otherwise: Graph): boolean {
  const weights = readers(otherwise);
  return [...readers(then).keys()].some((v) => weights.has(v));
}

/** A weight with more readers than it has in either branch: merging them would compute a product twice that each of them computes once. */
const readTwice = (
  branches: readonly ReadonlyMap<Value, number>[],
  after: ReadonlyMap<Value, number>,
  before: ReadonlyMap<Value, number>,
): Value | undefined =>
  [...new Set(branches.flatMap((b) => [...b.keys()]))].find(
    (v) => (after.get(v) ?? 0) - (before.get(v) ?? 0) > Math.max(...branches.map((b) => b.get(v) ?? 0)),
  );
