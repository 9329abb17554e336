import { int, type Attribute, type Attributes } from '../../ir/attributes.ts';
import { inverse, type ChannelRange, type ChannelTransform } from '../../ir/channel.ts';
import { fail } from '../../ir/diagnostics.ts';
import type { Graph } from '../../ir/graph.ts';
import type { Observer, Site } from '../../ir/ops/qc.ts';
import { observerOf, setObserved } from '../../ir/site.ts';
import type { Part, Reduction } from '../infra/reduction.ts';
import { reductions } from './reductions/index.ts';

/** What calibration saw at one site: channels are the last axis, tokens all the others. */
export interface Statistics {
  readonly samples: number;
  readonly tokens: number;
  /** The extremes of each channel. */
  readonly range: ChannelRange;
  /** What a reduction saw; null where calibration did not look, or where changes of basis have made it unknown. */
  get<T>(reduction: Reduction<T>): T | null;
}

/** Statistics whose values, in the basis of calibration, `look` finds. */
export function statistics(
  { samples, tokens }: Omit<Part<unknown>, 'value'>,
  look: <T>(reduction: Reduction<T>) => T | null,
  basis: ChannelTransform | null = null,
): Statistics | null {
  const get = <T>(reduction: Reduction<T>): T | null => {
    const value = look(reduction);
    return value && basis ? reduction.moved(value, basis) : value;
  };
  const range = get(reductions.range);
  return range && { samples, tokens, range, get };
}

/** What the statistics will be after a change of basis. */
export const movedStatistics = (s: Statistics, t: ChannelTransform): Statistics => statistics(s, s.get, t)!;

/** What calibration saw at a site, in the site's present basis; null while the observer has seen nothing. */
export function statisticsAt(site: Site): Statistics | null {
  const observer = observerOf(site);
  return observer && statisticsOf(observer.node.attributes, observer.basis);
}

/** What is written in the attributes of an observer; extremes alone are enough. */
export function statisticsOf(attributes: ReadonlyMap<string, Attribute>, basis: ChannelTransform | null = null): Statistics | null {
  const count = (name: string): number => {
    const a = attributes.get(name);
    return a?.kind === 'int' ? Number(a.value) : 1;
  };
  return statistics({ samples: count('samples'), tokens: count('tokens') }, (r) => r.read(attributes), basis);
}

/** The attributes of an observer that count what was seen. */
export const countAttributes = ({ samples, tokens }: Omit<Part<unknown>, 'value'>): Attributes => ({
  samples: int(samples),
  tokens: int(tokens),
});

/** Has the observer of a site say that `reduction` saw `value`, which is in the present basis of the site. */
export function setStatistic<T>(graph: Graph, site: Site, reduction: Reduction<T>, value: T): Observer {
  const observer = observerOf(site) ?? fail('QC9001', `there is no observer at %${site.key}`);
  const { basis } = observer;
  const seen = basis ? reduction.moved(value, inverse(basis)) : value;
  if (seen === null) fail('QC9001', `${reduction.name} at %${site.key} cannot be known in the basis of calibration`);
  return setObserved(graph, observer, { ...Object.fromEntries(observer.node.attributes), ...reduction.write(seen) });
}
