import type { Node } from '../../../ir/graph.ts';
import { floats, type Tensor } from '../../../ir/tensor.ts';
import { isFloat, sizeOf } from '../../../ir/types.ts';
import type { Manner } from './policy.ts';

/**
 * Where a float value stands. `half`: an activation, in f16. `single`: f32 because an operator computes it so; in f16 again for the next
 * that does not. `number`: f32 that follows from integers (positions, masks, rotary angles); stays f32 until it meets an activation or a
 * weight. `asked`: f32 that a model in f16 asks for with a Cast; stays f32 until it meets f16. `free`: follows from constants, and is made
 * in whichever type is wanted.
 */
export type Kind = 'half' | 'single' | 'number' | 'asked' | 'free';

/** What f16 has no number for: beyond 65504, as the -3.4e38 of masks, or next to zero, as the epsilon of a norm. */
export type Strain = 'large' | 'small';

export interface Standing {
  readonly kind: Kind;
  /** Of what f16 does not hold this value is made of: it stays f32 with what follows, up to an operator that bounds it. */
  readonly strain: Strain | null;
}

export const half: Standing = { kind: 'half', strain: null };
export const single: Standing = { kind: 'single', strain: null };
export const asked: Standing = { kind: 'asked', strain: null };
export const number: Standing = { kind: 'number', strain: null };

/** The largest number of f16; from 65520 on, rounding gives infinity. */
export const largestHalf = 65504;
const infinite = 65520;
/** The smallest number that f16 holds with all its bits. */
export const smallestHalf = 2 ** -14;

/** What keeps a constant from being f16. Elements of a tensor may be rounded to zero, a number that stands alone may not. */
export function strainOf(t: Tensor): Strain | null {
  if (!isFloat(t.dtype)) return null;
  const data = floats(t);
  if (data.some((x) => Number.isFinite(x) && Math.abs(x) >= infinite)) return 'large';
  return sizeOf(t.shape) === 1 && data[0] !== 0 && Math.abs(data[0]!) < smallestHalf ? 'small' : null;
}

/** An operand as `standingAfter` sees it. */
export interface Operand extends Standing {
  /** Not to be cut to what f16 holds: a weight, but not a mask. */
  readonly exact: boolean;
  /** A constant with two long axes. */
  readonly matrix: boolean;
}

/** How the float results of a node stand; they are f16, and so are the operands, when their kind is `half`. */
export function standingAfter(node: Node, manner: Manner, operands: readonly Operand[]): Standing {
  const active = operands.some((o) => o.kind === 'half' || o.kind === 'single');
  const strain = worst(operands);
  const wide = active ? single : operands.some((o) => o.kind === 'asked') ? asked : number;
  if (manner === 'half') {
    const kept = worst(operands.filter((o) => o.exact));
    if (kept !== null) return { ...wide, strain: kept === 'large' ? 'large' : null };
    return active || !(wide === asked || isOfNumbers(node, operands)) ? half : wide;
  }
  const free = operands.every((o) => o.kind === 'free');
  if (manner === 'single') return free ? single : wide;
  if (isSquare(node)) return wide;
  if (strain === null && operands.some((o) => o.kind === 'half')) return half;
  if (free && isTable(node)) return strain === null ? half : { kind: 'single', strain };
  if (free && strain === null) return operands[0] ?? number;
  return { ...wide, strain: strainAfter(node, strain) };
}

/** Positions times frequencies: a product of numbers without a weight. */
const isOfNumbers = ({ op }: Node, operands: readonly Operand[]): boolean =>
  (op === 'MatMul' || op === 'Einsum') && operands.some((o) => o.kind === 'number') && !operands.some((o) => o.matrix);

const worst = (operands: readonly Standing[]): Strain | null =>
  operands.some((o) => o.strain === 'large') ? 'large' : operands.some((o) => o.strain === 'small') ? 'small' : null;

/** A square of 256 is beyond f16, and the squares of a norm are summed. */
const isSquare = (node: Node): boolean => node.op === 'Mul' && node.input(0) === node.input(1);

/** Rows of a table that the caller's numbers choose: an embedding. */
const isTable = (node: Node): boolean => node.op === 'Gather' && node.input(1)?.constant == null;

/** An epsilon has done its work where something is multiplied or divided with it. */
const strainAfter = ({ op }: Node, strain: Strain | null): Strain | null =>
  strain === 'small' && (op === 'Mul' || op === 'Div') ? null : strain;
