import { targets, type Target } from '../codegen/index.ts';
import type { Scheme, SiteTrait } from '../ir/index.ts';
import { withPresets } from './presets.ts';
import { flattened, parsePipeline, schemeNamed, type PassCall, type PassManager } from '../passes/index.ts';

/** What blocks are calibrated on: float activations, or those of the quantized blocks before them. */
export type BlockOrder = 'parallel' | 'sequential';

/** What the user asks for. */
export interface PipelineRequest {
  readonly passes: string;
  readonly scheme: string;
  readonly target: Target;
  readonly order?: BlockOrder | undefined;
  /** Whether biases take up what quantization does to means; true by default. */
  readonly biasCorrect?: boolean | undefined;
  /** Whether caches keep their basis, because another model fills or reads them too. */
  readonly keepCaches?: boolean | undefined;
}

/** Passes that open every compile, whatever the user asks for. */
const opening: readonly PassCall[] = [
  { name: 'raise', options: {} },
  { name: 'fold-constants', options: {} },
  { name: 'tie-weights', options: {} },
];

/** Between the first and the last of these, the caches of a model may change their basis. */
const [openCaches, closeCaches] = ['open-caches', 'close-caches'].map((name): PassCall => ({ name, options: {} })) as [PassCall, PassCall];

/**
 * The pipeline that a compile really runs: the user's passes with what they need around them, and with the options that scheme
 * and target decide. Its text is kept in the model, so that every artefact says how it was made.
 */
export function effectivePipeline(manager: PassManager, request: PipelineRequest): readonly PassCall[] {
  const { target } = request;
  const scheme = schemeNamed(request.scheme);
  const calls = withPresets(parsePipeline(request.passes), manager);
  const has = (name: string) => flattened(calls).some((c) => c.name === name);
  const ranges = needsRanges(scheme) && !has('calibrate') ? [{ name: 'calibrate', options: {} }] : [];
  const own = has('raise') ? calls : [...opening, ...(request.keepCaches ? [] : [openCaches]), ...ranges, ...calls];
  const traits = new Set(flattened(calls).flatMap((c) => manager.find(c.name).traits));
  // A pipeline that begins by raising is a whole one, as a model keeps it: it runs as it is written.
  const wanted = ['quantized', ...(request.biasCorrect === false || has('raise') ? [] : ['bias-corrected'])];
  const complete = manager.complete(own, wanted, { scheme: request.scheme, ...layoutOptions(target, scheme, traits) });
  const ordered = request.order === 'sequential' ? inSequence(manager, complete) : complete;
  const open = ordered.some((c) => c.name === openCaches.name) && !ordered.some((c) => c.name === closeCaches.name);
  const closed = open ? [...ordered, closeCaches] : ordered;
  return closed.at(-1)?.name === 'dead-code' ? closed : [...closed, { name: 'dead-code', options: {} }];
}

/** Puts what comes after the marks, up to the quantizers, into one `each-block`, unless the user has done so. */
function inSequence(manager: PassManager, calls: readonly PassCall[]): readonly PassCall[] {
  if (calls.some((c) => c.inner)) return calls;
  const gives = (call: PassCall, facts: readonly string[]) => manager.find(call.name).gives.some((fact) => facts.includes(fact));
  const start = calls.findLastIndex((c) => gives(c, ['raised', 'sites', 'observed'])) + 1;
  const end = calls.findLastIndex((c) => gives(c, ['quantized', 'bias-corrected'])) + 1;
  const held = { name: 'each-block', options: { order: 'sequential' }, inner: calls.slice(start, end) };
  return [...calls.slice(0, start), held, ...calls.slice(end)];
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
