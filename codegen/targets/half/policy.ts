import { operatorsWith, traitsOf } from '../../../ir/ops/traits.ts';
import { isKernel } from '../../kernels/bodies/index.ts';

/**
 * How an operator takes to f16. `half`: it computes in f16, and adds up in f32 inside. `follow`: it moves values or combines them one
 * by one, in f16 where what it reads is f16. `single`: it computes in f32, with Casts around it. `size`: it looks at shapes alone.
 */
export type Manner = 'half' | 'follow' | 'single' | 'size';

const words = (text: string): ReadonlySet<string> => new Set(text.split(/\s+/));

/** Products, norms (`stash_type` keeps their statistics in f32) and quantizers. */
export const halves = words(
  `MatMul Gemm Einsum Conv LayerNormalization RMSNormalization Attention RotaryEmbedding QuantizeLinear DequantizeLinear
  com.microsoft.MatMulNBits`,
);

/** Operators that have f16 on CUDA, and whose error in it is that of one rounding. Casts have a rule of their own. */
export const followers: ReadonlySet<string> = new Set([
  ...operatorsWith((t) => t.holds !== undefined).filter((op) => op !== 'Cast'),
  ...words(
    `Concat ScatterElements ScatterND Pad Trilu Where Add Sub Mul Div Neg Abs Sign Ceil Floor Round Min Max Clip Relu LeakyRelu Elu Gelu Erf
    Tanh Sigmoid Softplus Sqrt Reciprocal ReduceMax ReduceMin ArgMax ArgMin TopK Equal Less Greater LessOrEqual GreaterOrEqual IsNaN IsInf`,
  ),
]);

/**
 * What computes in f16 and what in f32. The rest, Softmax, Exp, Log, Pow, Sin, Cos, sums and means among it, and every operator
 * that is not known here, is `single`: it exponentiates, it sums over many, or nobody said that it may be less exact.
 */
export function mannerOf(op: string): Manner {
  if (halves.has(op) || isKernel(op)) return 'half';
  if (followers.has(op)) return 'follow';
  return traitsOf(op).readsExtents ? 'size' : 'single';
}

/** Whether result `i` is a statistic that stays f32: mean and deviation of a norm. */
export const isStatistic = (op: string, i: number): boolean => op === 'LayerNormalization' && i > 0;

/** The operator that has a softmax inside, and the place of its mask, whose numbers need not be exact. */
export const softmaxInside = { op: 'Attention', mask: 3 } as const;
