import type { Graph, Value } from './graph.ts';
import { floats, integers, type Tensor } from './tensor.ts';
import { isFloat, sizeOf } from './types.ts';

/** The only element of a float or integer constant, or null. An exponent of Pow may be an integer where the base is a float. */
export function scalarOf(v: Value | null): number | null {
  const t = v?.constant;
  if (!t || sizeOf(t.shape) !== 1) return null;
  return isFloat(t.dtype) ? floats(t)[0]! : (integersOf(v)?.[0] ?? null);
}

/** The elements of an integer constant, or null. */
export function integersOf(v: Value | null): readonly number[] | null {
  const t = v?.constant;
  return t && /^[iu]\d+$/.test(t.dtype) ? integers(t) : null;
}

/** Whether a value is a float constant with one element for each of `size` channels of the last axis. */
export function isChannelVector(v: Value | null, size?: number): boolean {
  const t = v?.constant;
  return !!t && isFloat(t.dtype) && t.shape.length === 1 && (size === undefined || t.shape[0] === size);
}

/** Whether a value is a float constant matrix [in, out]. */
export function isMatrix(v: Value | null): boolean {
  const t = v?.constant;
  return !!t && isFloat(t.dtype) && t.shape.length === 2;
}

/**
 * A constant takes the place and the name of an input or of another constant. Where the graph gives that out, an Identity has the name, and the
 * constant gets another one.
 */
export function exchange(graph: Graph, from: Value, tensor: Tensor): Value {
  const { name } = from;
  const made = graph.addConstant(graph.freshName(name), tensor);
  graph.replaceUses(from, made);
  if (from.constant) graph.eraseConstant(from);
  else graph.eraseInput(from);
  if (!graph.isNameTaken(name)) graph.rename(made, name);
  return made;
}
