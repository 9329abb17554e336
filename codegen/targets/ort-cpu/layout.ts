import type { SiteTrait, TargetLayout } from '../../../ir/layout.ts';
import type { Scheme } from '../../../ir/scheme.ts';
import { inputBits, weightBits } from '../bits.ts';

/**
 * ONNX Runtime fuses a product when its input has one static scale, which is enough for channels of equal range; otherwise MatMulNBits finds
 * a scale for each token and block, and clusters are made to end where blocks do.
 */
export function layout(scheme: Scheme, traits: ReadonlySet<SiteTrait>): TargetLayout {
  const [bits, input] = [weightBits(scheme), inputBits(scheme)];
  if ((bits !== 4 && bits !== 8) || (input !== 8 && input !== 16)) return {};
  const clustered = traits.has('clustered');
  if (input === 8 && traits.has('equalized')) {
    return bits === 8
      ? { activations: 'tensor', weights: 'channel' }
      : { activations: 'tensor', weights: clustered ? 'auto' : 'block', block: 32, multiples: true };
  }
  return bits === 4 || clustered ? { weights: 'block', activations: 'block', block: 32, align: 32 } : {};
}
