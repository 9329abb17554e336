import type { SiteTrait, TargetLayout } from '../../../ir/layout.ts';
import type { Scheme } from '../../../ir/scheme.ts';
import { inputBits, weightBits } from '../bits.ts';

/**
 * ONNX Runtime fuses a product when its input has one static 8-bit scale, which is enough for channels of equal range; otherwise MatMulNBits
 * finds a scale for each token and block. Inputs of fewer bits run in float behind QDQ, with the scales of clusters.
 *
 * An order of channels leaves 8 Gathers in examples/demo, whose perplexity in float is 50.48. From 32 samples it is, with the order of rptq
 * and without it, all without bias-correct:
 *
 *     rptq,os+ w8a8    one static scale, of columns too      50.91   50.91
 *     rptq,os+ w4a8    one static scale, blocks of 8 rows    60.37   59.15   (59.27 with rows in clusters, in 37 % of the size for 35 %)
 *     rptq w8a8        blocks of 32                          54.33   53.33
 *     rptq w4a8        blocks of 32                         293.59  247.56
 *     rptq w4a16       blocks of 32                         279.76  239.88
 *     rptq,os+ w4a16   blocks of 32                          64.84   66.46
 *     rptq,os+ w8a6    clusters, or one static scale         51.56   54.49
 */
export function layout(scheme: Scheme, traits: ReadonlySet<SiteTrait>): TargetLayout {
  const [bits, input] = [weightBits(scheme), inputBits(scheme)];
  if ((bits !== 4 && bits !== 8) || (input !== 8 && input !== 16)) return {};
  const equalized = traits.has('equalized');
  const gated = { gated: 'block' } as const;
  if (input === 8 && equalized) return { ...gated, activations: 'tensor', ...staticRows(bits), unordered: 'one scale for each input' };
  if (bits === 8 && !traits.has('clustered')) return gated;
  const blocks: TargetLayout = { ...gated, weights: 'block', activations: 'block', block: 32, align: 32 };
  return equalized ? blocks : { ...blocks, unordered: 'a scale for each block of 32 channels' };
}

/**
 * Narrow weights have a scale for every few rows, as a multiple of one for the column, so that they become bytes when the model is loaded:
 * small blocks cost size, not time (os+ w4a8: perplexity 69.14 with blocks of 32 in 33 % of the size, 61.07 with 16 in 34 %, 59.15 with 8
 * in 35 %, 55.10 with 4 in 39 %).
 */
const staticRows = (bits: 4 | 8): TargetLayout => (bits === 8 ? { weights: 'channel' } : { weights: 'block', block: 8, multiples: true });
