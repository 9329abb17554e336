import { fail } from '../../ir/diagnostics.ts';
import { irOpset, type Graph, type Node } from '../../ir/graph.ts';
import { inferTypes } from '../../ir/shapes/infer.ts';
import { eachNode } from '../../ir/walk.ts';
import { adapters, needTypes } from './adapters.ts';
import { carriedOfNode } from './carried.ts';
import { opHistory, type OpVersion } from './op-history.ts';

/** The opset that models are written in where nothing needs a later one. */
export const preferredOpset = 21;

/** Brings a model of an older opset to the IR's: every node means after it what it meant before. QC4104 names what cannot be converted. */
export function upgradeOpset(graph: Graph): void {
  const from = graph.opsets.get('') ?? 1;
  const nodes = [...eachNode(graph)].filter((n) => !n.op.includes('.'));
  const versionOf = (node: Node): number => carriedOfNode(node).opset ?? from;
  if (nodes.every((n) => versionOf(n) >= irOpset)) return;
  if (nodes.some((n) => needTypes.has(n.op))) inferTypes(graph);
  for (const node of nodes) upgradeNode(node, versionOf(node));
  graph.opsets.set('', Math.max(from, irOpset));
}

/** Takes the oldest opset, not before 21, in which every node means the same as now. */
export function settleOpset(graph: Graph): void {
  const now = graph.opsets.get('') ?? irOpset;
  if (now > preferredOpset) graph.opsets.set('', neededOpset(graph));
}

/** The oldest opset, not before 21, in which every node that `counts` means the same as now. */
export function neededOpset(graph: Graph, counts: (node: Node) => boolean = () => true): number {
  const now = graph.opsets.get('') ?? irOpset;
  const nodes = [...eachNode(graph)].filter((n) => !n.op.includes('.') && counts(n));
  return Math.min(
    nodes.reduce((least, node) => Math.max(least, leastOpset(node, now)), preferredOpset),
    now,
  );
}

const versionIn = (op: string, opset: number): OpVersion | undefined => opHistory[op]?.findLast((v) => v.since <= opset);

function upgradeNode(node: Node, from: number): void {
  const path = (adapters[node.op] ?? []).filter((a) => a.since > from && a.since <= irOpset);
  const later = (opHistory[node.op] ?? []).filter((v) => v.since > from && v.since <= irOpset);
  const broken = later.find((v) => v.breaking && !path.some((a) => a.since >= v.since));
  if (broken) refuse(node, from, broken.since);
  let at: Node | null = node;
  for (const adapter of path) at = at && (adapter.adapt(at) ?? refuse(node, from, adapter.since));
}

const refuse = (node: Node, from: number, since: number): never =>
  fail('QC4104', `${node.op} of opset ${from} changed its meaning in opset ${since}, and qc cannot convert this one`, node.loc, {
    hint: 'export the model with opset 18 or later',
  });

/** The oldest opset whose version of the operator takes this node as it is. */
function leastOpset(node: Node, now: number): number {
  const versions = (opHistory[node.op] ?? []).filter((v) => v.since <= now);
  let least = versions.at(-1)?.since ?? 1;
  for (let i = versions.length - 1; i > 0; i--) {
    const older = versions[i - 1]!;
    const fits = node.operands.length <= older.inputs && [...node.attributes.keys()].every((a) => older.attributes.includes(a));
    if (versions[i]!.breaking || (!fits && !isVariadic(node))) break;
    least = older.since;
  }
  return least;
}

const isVariadic = (node: Node): boolean => node.operands.length > (versionIn(node.op, irOpset)?.inputs ?? 0);
