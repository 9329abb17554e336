import type { OperatorRecord } from './record.ts';

const microsoft = (names: string): readonly string[] => names.split(/\s+/).map((name) => `com.microsoft.${name}`);

/** Products with weights that are quantized already. */
const quantized = new Set(microsoft('MatMulNBits MatMulBnb4 MatMulFpQ4 GemmFloat8 QAttention QMoE'));

/** Operators that multiply with a weight among other things. */
const products = microsoft(`FusedMatMul FusedGemm FusedConv MoE MatMulNBits MatMulBnb4 MatMulFpQ4 GemmFloat8 QMoE
  Attention QAttention DecoderMaskedSelfAttention PackedAttention`);

const attentions = new Set(
  microsoft(`Attention QAttention DecoderMaskedSelfAttention PackedAttention MultiHeadAttention DecoderMaskedMultiHeadAttention
    GroupQueryAttention PackedMultiHeadAttention PagedAttention SparseAttention LongformerAttention`),
);

const norms = new Set([
  'SimplifiedLayerNormalization',
  ...microsoft('SkipLayerNormalization SkipSimplifiedLayerNormalization EmbedLayerNormalization QEmbedLayerNormalization'),
]);

/** Operators of ONNX Runtime that a rule of `raise` takes apart or nobody does. */
export const fused: readonly OperatorRecord[] = [...new Set([...products, ...attentions, ...norms])].map((op) => ({
  op,
  ...(attentions.has(op) ? { unraised: 'attention' as const } : norms.has(op) ? { unraised: 'norm' as const } : {}),
  ...(products.includes(op)
    ? { productLeft: () => (quantized.has(op) ? 'its weight is quantized already' : `${op} is not taken apart`) }
    : {}),
}));
