import type { Target } from '../codegen/index.ts';
import type { Scheme } from '../ir/index.ts';
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
export function effectivePipeline(manager: PassManager, asked: string, scheme: string, target: Target): readonly PassCall[] {
  const calls = parsePipeline(asked);
  const has = (name: string) => calls.some((c) => c.name === name);
  const ranges = needsRanges(schemeNamed(scheme)) && !has('calibrate') ? [{ name: 'calibrate', options: {} }] : [];
  const own = has('raise') ? calls : [...opening, ...ranges, ...calls];
  const defaults = { scheme, ...layoutFor(target, schemeNamed(scheme), new Set(calls.map((c) => c.name))) };
  const complete = manager.complete(own, ['quantized'], defaults);
  return complete.at(-1)?.name === 'dead-code' ? complete : [...complete, { name: 'dead-code', options: {} }];
}

/** Whether the scheme has activations with static ranges, which calibration finds. */
const needsRanges = (scheme: Scheme): boolean => Object.values(scheme.activations).some((a) => a.range === 'static');

/** Options of the passes, by name. */
type Layout = (scheme: Scheme, asked: ReadonlySet<string>) => Readonly<Record<string, string>>;

/** How the target wants scales laid out. */
const layoutFor = (target: Target, ...how: Parameters<Layout>): ReturnType<Layout> => layouts[target.name]?.(...how) ?? {};

const weightBits = (scheme: Scheme): number => scheme.weights?.bits ?? 16;
const inputBits = (scheme: Scheme): number => Object.values(scheme.activations)[0]?.bits ?? 16;

/** Our kernels take clusters that end at whole steps, with zero points wherever they lie. */
const forKernels: Layout = (scheme, asked) => ({ align: '32', zeros: 'free', ...rowBlocks(scheme, asked) });

/**
 * ONNX Runtime fuses a product when its input has one static scale, which is enough after OS+; without OS+, MatMulNBits finds a scale for
 * each token and block, and RPTQ's clusters are made to end where blocks do.
 */
const forOrtCpu: Layout = (scheme, asked) => {
  const [bits, input] = [weightBits(scheme), inputBits(scheme)];
  if ((bits !== 4 && bits !== 8) || (input !== 8 && input !== 16)) return {};
  const clustered = asked.has('rptq');
  if (input === 8 && asked.has('os+')) {
    return bits === 8
      ? { activations: 'tensor', weights: 'channel' }
      : { activations: 'tensor', weights: clustered ? 'auto' : 'block', block: '32', multiples: '' };
  }
  return bits === 4 || clustered ? { weights: 'block', activations: 'block', block: '32', align: '32' } : {};
};

/**
 * MatMulInteger takes symmetric weights with one scale for each column, and one scale for its input, clusters or not. For all else there is
 * MatMulNBits, to which small blocks cost nothing.
 */
const forOrtCuda: Layout = (scheme) =>
  scheme.weights?.symmetric && weightBits(scheme) === 8 && inputBits(scheme) === 8
    ? { activations: 'tensor', weights: 'channel', align: '32' }
    : { weights: 'block', block: '32', align: '32' };

/**
 * Narrow weights want a scale for every few rows: those of a cluster where there are clusters, blocks of one step elsewhere (opt-mini after
 * os+ at w4a8: perplexity 87.5 with blocks of 32, 102.9 with blocks of 64).
 */
const rowBlocks = (scheme: Scheme, asked: ReadonlySet<string>): Readonly<Record<string, string>> => {
  const narrow = (scheme.weights?.bits ?? 16) <= 4;
  const clustered = asked.has('rptq') && Object.keys(scheme.activations).length > 0;
  return narrow && !clustered ? { weights: 'block', block: '32' } : {};
};

const layouts: Readonly<Record<string, Layout>> = {
  'ort-cpu': forOrtCpu,
  'ort-cuda': forOrtCuda,
  'qc-cpu': forKernels,
  'qc-cuda': forKernels,
};
