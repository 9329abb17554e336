import { fail, type Location } from '../../ir/diagnostics.ts';
import type { Feeds } from '../../passes/infra/executor.ts';
import { pastIn } from './implied.ts';
import type { ModelInput } from './inputs.ts';
import type { SampleOptions } from './source.ts';

/** Tokens of a sample where neither the user nor the model says. */
const usualLength = 256;

/** Tokens of a sample: as many as the user asks for, which must be as many as the model takes; QC2111 otherwise. */
export function sampleLength({ seq, inputs, positions = null }: SampleOptions): number {
  const fixed = inputs.tokens && fixedExtent(inputs.tokens, 1);
  if (fixed === null) return seq ?? Math.min(usualLength, positions ?? usualLength);
  if (seq === undefined || seq === fixed) return fixed;
  return fail('QC2111', `the model takes sequences of exactly ${fixed} tokens, not of ${seq}`, undefined, { hint: `--seq ${fixed}` });
}

/** Sequences that the model takes at a time; 1 where it leaves that open. */
export const batchOf = (tokens: ModelInput): number => fixedExtent(tokens, 0) ?? 1;

/** Throws QC2111 for more tokens than the model has positions for. */
export function checkPositions(tokens: number, positions: number | null | undefined, at?: Location): void {
  if (positions === null || positions === undefined || tokens <= positions) return;
  fail('QC2111', `a sequence has ${tokens} tokens, and the model has ${positions} positions`, at, {
    hint: `use at most --seq ${positions}; arrays of .npz stay as long as they are, so cut them`,
  });
}

/** Checks the tokens of a sample together with those in its caches. */
export function checkSample(sample: Feeds, { inputs, positions }: SampleOptions, at: Location): Feeds {
  const ids = inputs.tokens && sample[inputs.tokens.name];
  if (ids) checkPositions((ids.shape.at(-1) ?? 0) + pastIn(sample, inputs), positions, at);
  return sample;
}

function fixedExtent({ shape }: ModelInput, axis: number): number | null {
  const extent = shape?.length === 2 ? shape[axis] : null;
  return typeof extent === 'number' ? extent : null;
}
