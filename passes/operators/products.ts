import { Conv, Einsum, Gemm } from '../../ir/ops/generated.ts';
import type { OperatorRecord } from './record.ts';

/** Products that are no linears unless a rule of `raise` makes them MatMuls. */
export const products: readonly OperatorRecord[] = [
  { op: Gemm.schema.op, productLeft: () => 'a Gemm that is not x W + b with a matrix of floats' },
  { op: Einsum.schema.op, productLeft: () => 'an Einsum that is not a product with one matrix' },
  {
    op: Conv.schema.op,
    productLeft: (_, { shape }) =>
      shape.slice(2).every((d) => d === 1) ? 'a Conv with a kernel of 1: products of matrices alone are quantized' : null,
  },
];
