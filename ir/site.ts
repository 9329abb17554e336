import { ints, string, type Attributes } from './attributes.ts';
import { Builder } from './builder.ts';
import { inverse, isIdentity, transformAttributes, type ChannelTransform } from './channel.ts';
import type { Graph, Node, Use, Value } from './graph.ts';
import { Decode, Encode, Observer, Site, type Role } from './ops/qc.ts';
import { viewAs } from './ops/view.ts';
import { moved, statisticsAttributes, statisticsOf, type Statistics } from './statistics.ts';

/** The sites of a graph, in order. */
export const sites = (graph: Graph): readonly Site[] => [...graph.nodes].flatMap((n) => viewAs(Site, n) ?? []);

/** Marks `value` for quantization: the given uses of it now read the site. */
export function markSite(graph: Graph, value: Value, uses: readonly Use[], role: Role): Site {
  const attributes = { key: string(freshKey(value)), role: string(role) };
  const site = Builder.behind(graph, value).make(Site, { x: value }, { attributes, like: value });
  for (const use of uses) graph.setInput(use.node, use.index, site.y);
  return site;
}

/** The name of the value, numbered when it has a site already: one that an Attention reads as key and as value has two. */
function freshKey(value: Value): string {
  const taken = new Set([...value.uses].map((u) => viewAs(Site, u.node)?.key));
  let key = value.name;
  for (let i = 2; taken.has(key); i++) key = `${value.name}.${i}`;
  return key;
}

/** The number of channels at a site, or null when nothing is known of the shape. */
export function channelsAt(site: Site): number | null {
  const dim = site.x.type?.shape?.at(-1);
  return typeof dim === 'number' ? dim : null;
}

/** The observer in front of a site. */
export const observerOf = (site: Site): Observer | null => viewAs(Observer, site.x.producer);

/** What calibration saw at a site, in the site's present basis. */
export function statisticsAt(site: Site): Statistics | null {
  const observer = observerOf(site);
  return observer && statisticsOf(observer.node.attributes);
}

/** Gives the observer of a site what calibration saw. */
export function setStatistics(graph: Graph, observer: Observer, statistics: Statistics): Observer {
  const key = string(observer.key);
  return new Observer(withAttributes(graph, observer.node, { key, ...statisticsAttributes(statistics) }));
}

/** Says that runs of channels of these sizes will share a scale. */
export function setGroups(graph: Graph, site: Site, sizes: readonly number[]): Site {
  return new Site(withAttributes(graph, site.node, { ...Object.fromEntries(site.node.attributes), groups: ints(sizes) }));
}

/**
 * Quantizes `site` in another basis: `x -> Site -> uses` becomes `x -> Encode{t} -> Site -> Decode{inverse of t} -> uses`.
 * The graph computes what it did, and the observer's statistics move along.
 */
export function changeBasis(graph: Graph, site: Site, t: ChannelTransform): Site {
  if (isIdentity(t)) return site;
  const observer = observerOf(site);
  const top = observer?.node ?? site.node;
  const statistics = statisticsAt(site);
  const source = top.input(0)!;
  const encode = Builder.before(top).make(Encode, { x: source }, { attributes: transformAttributes(t), like: source });
  graph.setInput(top, 0, encode.y);
  if (observer && statistics) setStatistics(graph, observer, moved(statistics, t));
  const back = { attributes: transformAttributes(inverse(t)), like: site.y };
  const decode = Builder.behind(graph, site.y).make(Decode, { x: site.y }, back);
  graph.replaceUses(site.y, decode.y, decode.node);
  return site;
}

/** A copy of a one-result node with other attributes takes the place of the node. */
function withAttributes(graph: Graph, node: Node, attributes: Attributes): Node {
  const inputs = node.operands.map((u) => u.value);
  const copy = Builder.before(node).node(node.op, inputs, { attributes, like: node.output, name: node.name });
  graph.replace(node.output, copy.output);
  graph.erase(node);
  return copy;
}
