import type { RewriteRule } from '../../../ir/rewrite.ts';
import { fusedEmbeddings } from './embedding.ts';
import { fusedGelus } from './gelus.ts';
import { fusedNorms } from './norms.ts';
import { fusedProducts } from './products.ts';
import { fusedRotaryEmbeddings } from './rotary-embedding.ts';

/** Operators that only ONNX Runtime has, in the words of ONNX. */
export const fusedRules: readonly RewriteRule[] = [
  ...fusedNorms,
  ...fusedEmbeddings,
  ...fusedGelus,
  ...fusedProducts,
  ...fusedRotaryEmbeddings,
];
