import type { Target } from '../codegen/index.ts';
import type { Scheme, TargetLayout } from '../ir/index.ts';
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
  const complete = manager.complete(own, ['quantized'], { scheme: schemeName, ...optionsOf(target.layout(scheme, traits)) });
  return complete.at(-1)?.name === 'dead-code' ? complete : [...complete, { name: 'dead-code', options: {} }];
}

/** Whether the scheme has activations with static ranges, which calibration finds. */
const needsRanges = (scheme: Scheme): boolean => Object.values(scheme.activations).some((a) => a.range === 'static');

/** A layout as options of passes, which have its names. */
const optionsOf = (layout: TargetLayout): PassCall['options'] =>
  Object.fromEntries(Object.entries(layout).map(([name, value]) => [name, String(value)]));
