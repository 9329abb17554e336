import type { SiteTrait, TargetLayout } from '../../../ir/layout.ts';
import type { Scheme } from '../../../ir/scheme.ts';
import { step } from '../../kernels/operators.ts';
import { weightBits } from '../bits.ts';

/**
 * Our kernels take clusters that end at whole steps, with zero points wherever they lie, and norms that quantize store through an order.
 * Where inputs stay in float, an order leaves a Gather behind each norm, and serves only the blocks of narrow weights whose channels are
 * equalized (examples/demo at w4a16, perplexity with the order of rptq and without it: 279.76 and 239.88, after os+ 64.84 and 66.46).
 */
export function layout(scheme: Scheme, traits: ReadonlySet<SiteTrait>): TargetLayout {
  const inFloat = Object.keys(scheme.activations).length === 0;
  const narrow = weightBits(scheme) <= 4;
  return {
    align: step,
    zeros: 'free',
    ...(narrow && (inFloat || !traits.has('clustered')) ? rowBlocks : {}),
    ...(inFloat && !(narrow && traits.has('equalized')) ? { unordered: 'inputs in float' } : {}),
  };
}

/**
 * Narrow weights want a scale for every few rows: those of a cluster where there are clusters, blocks of one step elsewhere (opt-mini after
 * os+ at w4a8: perplexity 87.5 with blocks of 32, 102.9 with blocks of 64).
 */
const rowBlocks: TargetLayout = { weights: 'block', block: step };
