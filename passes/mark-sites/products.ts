import type { Node } from '../../ir/graph.ts';
import { weightOf } from '../model/linears.ts';

/** Why heads are passed over. */
export const headInFloat = 'a head stays in float (mark-sites{head} quantizes it if its weight is its own)';

/** Operators of ONNX Runtime that multiply with a weight among other things. */
const fused =
  /^com\.microsoft\.(FusedMatMul|FusedGemm|FusedConv|Attention|DecoderMaskedSelfAttention|QAttention|GemmFloat8|MatMulBnb4|MoE|QMoE)$/;

/** Why a product with a constant weight is no linear that passes know; null for one that is, and for all other nodes. */
export function productLeft(node: Node): string | null {
  const constants = node.operands.flatMap((u) => u.value?.constant ?? []).filter((t) => t.shape.length >= 2);
  if (weightOf(node)) return null;
  if (node.op === 'MatMul' && isTied(node)) return headInFloat;
  if (constants.length === 0) return null;
  switch (node.op) {
    case 'MatMul':
      return node.input(0)?.constant ? 'its weight stands first, and the axes of its input are unknown' : 'its weight is not one matrix';
    case 'Gemm':
      return 'a Gemm that is not x W + b with a matrix of floats';
    case 'Einsum':
      return 'an Einsum that is not a product with one matrix';
    case 'Conv':
      return constants[0]!.shape.slice(2).every((d) => d === 1)
        ? 'a Conv with a kernel of 1: products of matrices alone are quantized'
        : null;
    default:
      return fused.test(node.op) ? `${node.op} is not taken apart` : null;
  }
}

/** A product with the transposed embedding table, which tie-weights stores once. */
const isTied = (node: Node): boolean => node.input(1)?.producer?.op === 'Transpose' && node.input(1)!.producer!.input(0)?.constant != null;
