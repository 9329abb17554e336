import type { SiteTrait, TargetLayout } from '../../../ir/layout.ts';
import type { Scheme } from '../../../ir/scheme.ts';
import { inputBits, weightBits } from '../bits.ts';

/**
 * MatMulInteger takes symmetric weights with one scale for each column, and one scale for its input. For all else there is MatMulNBits, to
 * which small blocks cost nothing, and whose input stays in float. So an order of channels serves only narrow weights, whose blocks it makes
 * even once channels are equalized. It leaves 8 Gathers in examples/demo, whose perplexity in float is 50.48; with the order of rptq and
 * without it, all without bias-correct:
 *
 *     rptq w8a8       51.39   51.18
 *     rptq,os+ w8a8   50.55   50.58
 *     rptq w4a8      280.48  239.62
 *     rptq,os+ w4a8   64.97   66.62
 */
export function layout(scheme: Scheme, traits: ReadonlySet<SiteTrait>): TargetLayout {
  const bits = weightBits(scheme);
  if (scheme.weights?.symmetric && bits === 8 && inputBits(scheme) === 8)
    return { activations: 'tensor', weights: 'channel', unordered: 'one scale for each input' };
  const blocks: TargetLayout = { weights: 'block', block: 32, align: 32 };
  return bits <= 4 && traits.has('equalized') ? blocks : { ...blocks, unordered: 'inputs in float' };
}
