import { fail, type Location } from '../../ir/diagnostics.ts';
import type { Feeds } from '../../passes/infra/executor.ts';
import { defaults } from '../defaults.ts';
import { pastIn } from './implied.ts';
import type { ModelInput, ModelInputs } from './inputs.ts';
import type { SampleOptions } from './source.ts';

/** Tokens of a sample: as many as the user asks for, which must be as many as the model takes; QC2111 otherwise. */
export function sampleLength({ seq, inputs, positions = null }: SampleOptions): number {
  const fixed = inputs.tokens && fixedExtent(inputs.tokens, 1);
  if (fixed === null) return seq ?? Math.min(defaults.seq, positions ?? defaults.seq);
  if (seq === undefined || seq === fixed) return fixed;
  return fail('QC2111', `the model takes sequences of exactly ${fixed} tokens, not of ${seq}`, undefined, { hint: `--seq ${fixed}` });
}

/** Sequences that the model takes at a time; 1 where it leaves that open. */
export const batchOf = (tokens: ModelInput): number => fixedExtent(tokens, 0) ?? 1;

/** Throws QC2111 for more tokens than the model has positions for; `remedy` says how to give at most so many. */
export function checkPositions(tokens: number, positions: number | null, remedy: (positions: number) => string, at?: Location): void {
  if (positions === null || tokens <= positions) return;
  fail('QC2111', `a sequence has ${tokens} tokens, and the model has ${positions} positions`, at, { hint: remedy(positions) });
}

/** What to do about windows and lines that are too long. */
export const shorterSeq = (positions: number): string => `use at most --seq ${positions}`;

/** What to do about arrays that are too long. */
export const shorterArrays = (positions: number): string => `cut the arrays to at most ${positions} tokens, those of the caches counted`;

/** The tokens in a sample and in its caches. */
export function tokensIn(sample: Feeds, inputs: ModelInputs): number {
  const ids = inputs.tokens && sample[inputs.tokens.name];
  return ids ? (ids.shape.at(-1) ?? 0) + pastIn(sample, inputs) : 0;
}

function fixedExtent({ shape }: ModelInput, axis: number): number | null {
  const extent = shape?.length === 2 ? shape[axis] : null;
  return typeof extent === 'number' ? extent : null;
}
