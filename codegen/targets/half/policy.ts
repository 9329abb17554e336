import { operatorsWith, traitsOf } from '../../../ir/ops/traits.ts';
import { isKernel } from '../../kernels/bodies/index.ts';

/**
 * The rule of the cast policy for an operator. `allow`: it computes in f16, and adds up in f32 inside. `follow`: it moves values or combines
 * them one by one, in f16 where what it reads is f16. `deny`: it computes in f32, with Casts around it. `extents`: it reads shapes alone.
 */
export type CastRule = 'allow' | 'follow' | 'deny' | 'extents';

const words = (text: string): ReadonlySet<string> => new Set(text.split(/\s+/));

/** The allow list: products, norms (`stash_type` keeps their statistics in f32) and quantizers. */
export const allowList = words(
  `MatMul Gemm Einsum Conv LayerNormalization RMSNormalization Attention RotaryEmbedding QuantizeLinear DequantizeLinear
  com.microsoft.MatMulNBits com.microsoft.GroupQueryAttention com.microsoft.RotaryEmbedding com.microsoft.SkipLayerNormalization
  com.microsoft.SkipSimplifiedLayerNormalization`,
);

/** The follow list: operators that have f16 on CUDA, and whose error in it is that of one rounding. Casts have a rule of their own. */
export const followList: ReadonlySet<string> = new Set([
  ...operatorsWith((t) => t.holds !== undefined).filter((op) => op !== 'Cast'),
  ...words(
    `Concat ScatterElements ScatterND Pad Trilu Where Add Sub Mul Div Neg Abs Sign Ceil Floor Round Min Max Clip Relu LeakyRelu Elu Gelu Erf
    Tanh Sigmoid Softplus Sqrt Reciprocal ReduceMax ReduceMin ArgMax ArgMin TopK Equal Less Greater LessOrEqual GreaterOrEqual IsNaN IsInf`,
  ),
]);

/**
 * The rule for an operator. Every operator that is on no list is denied, Softmax, Exp, Log, Pow, Sin, Cos, sums and means among them: it
 * exponentiates, it sums over many elements, or nothing says that it may be less exact.
 */
export function castRuleOf(op: string): CastRule {
  if (allowList.has(op) || isKernel(op)) return 'allow';
  if (followList.has(op)) return 'follow';
  return traitsOf(op).readsExtents ? 'extents' : 'deny';
}

/** Whether result `i` is a statistic that stays f32: mean and deviation of a norm. */
export const isStatistic = (op: string, i: number): boolean => op === 'LayerNormalization' && i > 0;

/** The operator that has a softmax inside, and the place of its mask, whose numbers need not be exact. */
export const softmaxInside = { op: 'Attention', mask: 3 } as const;
