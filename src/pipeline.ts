import { targets, type Target } from '../codegen/index.ts';
import type { Scheme, SiteTrait } from '../ir/index.ts';
import { parsePipeline, schemeNamed, type PassCall, type PassManager } from '../passes/index.ts';

/** Passes that open every compile, whatever the user asks for. */
const opening: readonly PassCall[] = [
  { name: 'raise', options: {} },
  { name: 'fold-constants', options: {} },
  { name: 'tie-weights', options: {} },
];

/**
 * The pipeline that a compile really runs: the user's passes with what they need around them, and with the options that scheme
 * and target decide. Its text is kept in the model, so that every artefact says how it was made.
 */
export function effectivePipeline(manager: PassManager, asked: string, schemeName: string, target: Target): readonly PassCall[] {
  const scheme = schemeNamed(schemeName);
  const calls = parsePipeline(asked);
  const has = (name: string) => calls.some((c) => c.name === name);
  const ranges = needsRanges(scheme) && !has('calibrate') ? [{ name: 'calibrate', options: {} }] : [];
  const own = has('raise') ? calls : [...opening, ...ranges, ...calls];
  const traits = new Set(calls.flatMap((c) => manager.find(c.name).traits));
  const complete = manager.complete(own, ['quantized'], { scheme: schemeName, ...layoutOptions(target, scheme, traits) });
  return complete.at(-1)?.name === 'dead-code' ? complete : [...complete, { name: 'dead-code', options: {} }];
}

/** Whether the scheme has activations with static ranges, which calibration finds. */
const needsRanges = (scheme: Scheme): boolean => Object.values(scheme.activations).some((a) => a.range === 'static');

/** How the target wants scales to lie, as options of passes, which have the names of the layout's parts. */
function layoutOptions(target: Target, scheme: Scheme, traits: ReadonlySet<SiteTrait>): PassCall['options'] {
  const layout = target.layout(scheme, traits);
  const { unordered } = layout;
  const inWords = unordered === undefined ? {} : { unordered: `${target.name} has ${unordered}${usersOfOrders(scheme, traits)}` };
  return Object.fromEntries(Object.entries({ ...layout, ...inWords }).map(([name, value]) => [name, String(value)]));
}

/** The targets to which an order of channels is worth something, as the end of a sentence; nothing where there is none. */
function usersOfOrders(scheme: Scheme, traits: ReadonlySet<SiteTrait>): string {
  const users = targets.filter((t) => t.layout(scheme, traits).unordered === undefined).map((t) => t.name);
  return users.length === 0 ? '' : `; an order serves ${users.join(', ')}`;
}
