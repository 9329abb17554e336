import type { Scheme } from '../../ir/scheme.ts';

/** Bits of a scheme's weights; 16 where they stay in float. */
export const weightBits = (scheme: Scheme): number => scheme.weights?.bits ?? 16;

/** Bits of the first role that a scheme quantizes, which is the norm or, where norms stay in float, what attention reads; 16 where none is. */
export const inputBits = (scheme: Scheme): number => Object.values(scheme.activations)[0]?.bits ?? 16;
