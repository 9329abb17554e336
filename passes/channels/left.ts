import type { ChannelTransform } from '../../ir/channel.ts';
import { admits, type Freedom } from '../../ir/freedom.ts';
import type { Graph, Node, Use, Value } from '../../ir/graph.ts';
import { Decode, Encode } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { describe, nameOf, type Refused } from '../infra/ledger.ts';
import { hasRole, recordOf } from '../operators/index.ts';

/** The changes of basis that stand where nothing takes them; what becomes of those is for the target to say. */
export const left = (graph: Graph): readonly (Encode | Decode)[] =>
  [...graph.nodes].flatMap((n) => viewAs(Encode, n) ?? viewAs(Decode, n) ?? []);

/** Who did not take a change of basis that is left, and why. */
export function whyLeft(graph: Graph, view: Encode | Decode): Refused {
  const { node } = view;
  const [why, value] = node.op === Encode.schema.op ? refusedAbove(graph, view) : refusedBelow(graph, view);
  return { node: nameOf(node), op: node.op, rule: 'fold-channels', why, value: value?.name ?? null };
}

type Reason = readonly [why: string, value?: Value];

function refusedAbove(graph: Graph, { x, transform }: Encode): Reason {
  const above = x.producer;
  if (above === null) return [`%${x.name} is ${x.constant ? 'a constant' : 'an input of the graph'}`];
  if (hasRole(above, 'marker')) return [`${markerText(above)} stands above it`, x];
  const freedom = recordOf(above).up?.freedom(above, transform.size, above.outputs.indexOf(x)) ?? null;
  const why = refusal(freedom, transform);
  if (why !== null) return [`${describe(above)} ${why}`, x];
  return [`%${x.name} ${graph.outputs.includes(x) ? 'is an output of the graph' : 'has other readers'}, which need it as it was`, x];
}

function refusedBelow(graph: Graph, { y, transform }: Decode): Reason {
  for (const use of y.uses) {
    const why = refusalOfReader(use, transform);
    if (why !== null) return [why, y];
  }
  return graph.outputs.includes(y) ? [`%${y.name} is an output of the graph`, y] : ['its reader takes it only together with another', y];
}

/** Why one reader does not take a Decode; null where it might. */
function refusalOfReader({ node, index }: Use, t: ChannelTransform): string | null {
  if (hasRole(node, 'marker')) return `${markerText(node)} stands below it`;
  const why = refusal(recordOf(node).down?.freedom(node, index, t.size) ?? null, t);
  return why && `${describe(node)} ${why}`;
}

const markerText = (node: Node): string => (recordOf(node).marks ? 'another place of quantization' : 'another change of basis');

/** The parts of a map, in words. */
const parts = { perm: 'order', scale: 'scale', shift: 'shift' } as const;
const partNames = Object.keys(parts) as readonly (keyof typeof parts)[];

/** The parts that a map has: `scale and shift`. */
export const partsText = (t: ChannelTransform): string =>
  partNames
    .filter((part) => t[part])
    .map((part) => parts[part])
    .join(' and ');

/** Why a freedom does not admit a map; null where it does. */
function refusal(freedom: Freedom | null, t: ChannelTransform): string | null {
  if (freedom === null) return 'takes no change of its channels as it stands here';
  if (admits(freedom, t)) return null;
  const missing = partNames.filter((part) => t[part] && !freedom.can[part]).map((part) => parts[part]);
  if (missing.length > 0) return `takes no ${missing.join(' and no ')}`;
  return freedom.can.scale === 'positive' && t.scale?.some((s) => s <= 0)
    ? 'takes only positive scales'
    : 'takes it within each head alone';
}
