import { ints, string, type Attributes } from './attributes.ts';
import { Builder } from './builder.ts';
import { compose, identity, inverse, isIdentity, transformAttributes, type ChannelTransform } from './channel.ts';
import type { Graph, Node, Use, Value } from './graph.ts';
import { Decode, Encode, Observer, Site, type Role } from './ops/qc.ts';
import { viewAs } from './ops/view.ts';

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

/** Has an observer remember this and nothing else: without a map among the attributes, what it saw is in the present basis. */
export function setObserved(graph: Graph, observer: Observer, seen: Attributes): Observer {
  return new Observer(withAttributes(graph, observer.node, { ...seen, key: string(observer.key) }));
}

/** Has an observer see its channels in another basis. */
function moveObserver(graph: Graph, observer: Observer, t: ChannelTransform): void {
  const basis = compose(observer.basis ?? identity(t.size), t);
  const { size: _, perm: __, scale: ___, shift: ____, ...seen } = Object.fromEntries(observer.node.attributes);
  withAttributes(graph, observer.node, isIdentity(basis) ? seen : { ...seen, ...transformAttributes(basis) });
}

/** Says that runs of channels of these sizes will share a scale. */
export function setGroups(graph: Graph, site: Site, sizes: readonly number[]): Site {
  return new Site(withAttributes(graph, site.node, { ...Object.fromEntries(site.node.attributes), groups: ints(sizes) }));
}

/** Says that a scale for each token will be found at run time. */
export function setTokenRange(graph: Graph, site: Site): Site {
  return new Site(withAttributes(graph, site.node, { ...Object.fromEntries(site.node.attributes), range: string('token') }));
}

/**
 * Quantizes `site` in another basis: `x -> Site -> uses` becomes `x -> Encode{t} -> Site -> Decode{inverse of t} -> uses`.
 * The graph computes what it did, and the observer knows the basis that it sees.
 */
export function changeBasis(graph: Graph, site: Site, t: ChannelTransform): Site {
  if (isIdentity(t)) return site;
  const observer = observerOf(site);
  const top = observer?.node ?? site.node;
  const source = top.input(0)!;
  const encode = Builder.before(top).make(Encode, { x: source }, { attributes: transformAttributes(t), like: source });
  graph.setInput(top, 0, encode.y);
  if (observer) moveObserver(graph, observer, t);
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
