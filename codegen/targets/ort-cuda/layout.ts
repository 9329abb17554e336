import type { TargetLayout } from '../../../ir/layout.ts';
import type { Scheme } from '../../../ir/scheme.ts';
import { inputBits, weightBits } from '../bits.ts';

/**
 * MatMulInteger takes symmetric weights with one scale for each column, and one scale for its input, clusters or not. For all else there is
 * MatMulNBits, to which small blocks cost nothing.
 */
export const layout = (scheme: Scheme): TargetLayout =>
  scheme.weights?.symmetric && weightBits(scheme) === 8 && inputBits(scheme) === 8
    ? { activations: 'tensor', weights: 'channel', align: 32 }
    : { weights: 'block', block: 32, align: 32 };
