import type { Node } from '../../../ir/graph.ts';
import { floats, type Tensor } from '../../../ir/tensor.ts';
import { isFloat, sizeOf } from '../../../ir/types.ts';
import type { CastRule } from './policy.ts';

/**
 * Why a float value has its type. `half`: it is an activation, in f16. `single`: an operator computes it in f32; it is f16 again for the next
 * operator that is not denied. `number`: it is f32 and follows from integers (positions, masks, rotary angles); it stays f32 until it meets
 * an activation or a weight. `requested`: a model in f16 casts it to f32; it stays f32 until it meets f16. `constant`: it follows from
 * constants, and is made in whichever type is wanted.
 */
export type Kind = 'half' | 'single' | 'number' | 'requested' | 'constant';

/** Numbers that f16 does not have: beyond 65504, as the -3.4e38 of masks, or next to zero, as the epsilon of a norm. */
export type RangeFault = 'overflow' | 'underflow';

export interface Precision {
  readonly kind: Kind;
  /** The value is made of such numbers: it stays f32 with what follows, up to an operator that bounds it. */
  readonly rangeFault: RangeFault | null;
}

export const half: Precision = { kind: 'half', rangeFault: null };
export const single: Precision = { kind: 'single', rangeFault: null };
export const requested: Precision = { kind: 'requested', rangeFault: null };
export const number: Precision = { kind: 'number', rangeFault: null };

/** The largest number of f16; from 65520 on, rounding gives infinity. */
export const largestHalf = 65504;
const infinite = 65520;
/** The smallest number that f16 holds with all its bits. */
export const smallestHalf = 2 ** -14;

/** What keeps a constant from being f16. Elements of a tensor may be rounded to zero, a number that stands alone may not. */
export function rangeFaultOf(t: Tensor): RangeFault | null {
  if (!isFloat(t.dtype)) return null;
  const data = floats(t);
  if (data.some((x) => Number.isFinite(x) && Math.abs(x) >= infinite)) return 'overflow';
  return sizeOf(t.shape) === 1 && data[0] !== 0 && Math.abs(data[0]!) < smallestHalf ? 'underflow' : null;
}

/** An operand as `precisionAfter` sees it. */
export interface Operand extends Precision {
  /** Not to be cut to what f16 holds: a weight, but not a mask. */
  readonly exact: boolean;
  /** A constant with two long axes. */
  readonly matrix: boolean;
}

/** The precision of the float results of a node; they are f16, and so are the operands, when their kind is `half`. */
export function precisionAfter(node: Node, rule: CastRule, operands: readonly Operand[]): Precision {
  const active = operands.some((o) => o.kind === 'half' || o.kind === 'single');
  const rangeFault = worst(operands);
  const wide = active ? single : operands.some((o) => o.kind === 'requested') ? requested : number;
  if (rule === 'allow') {
    const kept = worst(operands.filter((o) => o.exact));
    if (kept !== null) return { ...wide, rangeFault: kept === 'overflow' ? 'overflow' : null };
    return active || !(wide === requested || isOfNumbers(node, operands)) ? half : wide;
  }
  const constant = operands.every((o) => o.kind === 'constant');
  if (rule === 'deny') return constant ? single : wide;
  if (isSquare(node)) return wide;
  if (rangeFault === null && operands.some((o) => o.kind === 'half')) return half;
  if (constant && isTable(node)) return rangeFault === null ? half : { kind: 'single', rangeFault };
  if (constant && rangeFault === null) return operands[0] ?? number;
  return { ...wide, rangeFault: rangeFaultAfter(node, rangeFault) };
}

/** Positions times frequencies: a product of numbers without a weight. */
const isOfNumbers = ({ op }: Node, operands: readonly Operand[]): boolean =>
  (op === 'MatMul' || op === 'Einsum') && operands.some((o) => o.kind === 'number') && !operands.some((o) => o.matrix);

const worst = (operands: readonly Precision[]): RangeFault | null =>
  operands.some((o) => o.rangeFault === 'overflow') ? 'overflow' : operands.some((o) => o.rangeFault === 'underflow') ? 'underflow' : null;

/** A square of 256 is beyond f16, and the squares of a norm are summed. */
const isSquare = (node: Node): boolean => node.op === 'Mul' && node.input(0) === node.input(1);

/** Rows of a table that the caller's numbers choose: an embedding. */
const isTable = (node: Node): boolean => node.op === 'Gather' && node.input(1)?.constant == null;

/** An epsilon has done its work where something is multiplied or divided with it. */
const rangeFaultAfter = ({ op }: Node, rangeFault: RangeFault | null): RangeFault | null =>
  rangeFault === 'underflow' && (op === 'Mul' || op === 'Div') ? null : rangeFault;
