import type { RewriteRule } from '../../../ir/rewrite.ts';
import { fusedEmbeddings } from './embedding.ts';
import { fusedGelus } from './gelus.ts';
import { groupQueryAttentions } from './group-query-attention.ts';
import { multiHeadAttentions } from './multi-head-attention.ts';
import { fusedNorms } from './norms.ts';
import { packedAttentions } from './packed-attention.ts';
import { fusedProducts } from './products.ts';
import { fusedRotaryEmbeddings } from './rotary-embedding.ts';

/** Operators that only ONNX Runtime has, in the words of ONNX. */
export const fusedRules: readonly RewriteRule[] = [
  ...fusedNorms,
  ...fusedEmbeddings,
  ...fusedGelus,
  ...fusedProducts,
  ...fusedRotaryEmbeddings,
  ...packedAttentions,
  ...multiHeadAttentions,
  ...groupQueryAttentions,
];
