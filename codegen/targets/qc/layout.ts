import type { SiteTrait, TargetLayout } from '../../../ir/layout.ts';
import type { Scheme } from '../../../ir/scheme.ts';
import { step } from '../../kernels/operators.ts';
import { weightBits } from '../bits.ts';

/** Our kernels take clusters that end at whole steps, with zero points wherever they lie. */
export const layout = (scheme: Scheme, traits: ReadonlySet<SiteTrait>): TargetLayout => ({
  align: step,
  zeros: 'free',
  ...rowBlocks(scheme, traits),
});

/**
 * Narrow weights want a scale for every few rows: those of a cluster where there are clusters, blocks of one step elsewhere (opt-mini after
 * os+ at w4a8: perplexity 87.5 with blocks of 32, 102.9 with blocks of 64).
 */
function rowBlocks(scheme: Scheme, traits: ReadonlySet<SiteTrait>): TargetLayout {
  const clustered = traits.has('clustered') && Object.keys(scheme.activations).length > 0;
  return weightBits(scheme) <= 4 && !clustered ? { weights: 'block', block: step } : {};
}
