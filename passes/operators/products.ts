import { Conv, Einsum, Gemm } from '../../ir/ops/generated.ts';
import type { OperatorRecord } from './record.ts';

/** Operators of ONNX Runtime that multiply with a weight among other things. */
const fused = [
  'com.microsoft.FusedMatMul',
  'com.microsoft.FusedGemm',
  'com.microsoft.FusedConv',
  'com.microsoft.Attention',
  'com.microsoft.DecoderMaskedSelfAttention',
  'com.microsoft.QAttention',
  'com.microsoft.GemmFloat8',
  'com.microsoft.MatMulBnb4',
  'com.microsoft.MoE',
  'com.microsoft.QMoE',
];

/** Products that are no linears unless a rule of `raise` makes them MatMuls. */
export const products: readonly OperatorRecord[] = [
  { op: Gemm.schema.op, productLeft: () => 'a Gemm that is not x W + b with a matrix of floats' },
  { op: Einsum.schema.op, productLeft: () => 'an Einsum that is not a product with one matrix' },
  {
    op: Conv.schema.op,
    productLeft: (_, { shape }) =>
      shape.slice(2).every((d) => d === 1) ? 'a Conv with a kernel of 1: products of matrices alone are quantized' : null,
  },
  ...fused.map((op) => ({ op, productLeft: () => `${op} is not taken apart` })),
];
