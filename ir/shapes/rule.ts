import type { Node, Value } from '../graph.ts';
import { tensorType, type Dim, type DType, type TensorType } from '../types.ts';

/** What is known of values that come before a node. */
export interface Known {
  readonly type: (v: Value | null) => TensorType | null;
  /** The elements of a small integer tensor, as extents. */
  readonly contents: (v: Value | null) => readonly Dim[] | null;
}
export interface Inferred {
  readonly type: TensorType | null;
  readonly contents?: readonly Dim[] | null;
}
/** What an operator's results are, given what is known of its operands. */
export type Rule = (node: Node, known: Known) => readonly Inferred[];

export const intAttribute = (node: Node, name: string, fallback: number): number => {
  const a = node.attributes.get(name);
  return a?.kind === 'int' ? Number(a.value) : fallback;
};
export const intsAttribute = (node: Node, name: string): readonly number[] | null => {
  const a = node.attributes.get(name);
  return a?.kind === 'ints' ? a.value.map(Number) : null;
};
export const shapeOf = (node: Node, i: number, known: Known): readonly Dim[] | null => known.type(node.input(i))?.shape ?? null;
export const dtypeOf = (node: Node, i: number, known: Known): DType | null => known.type(node.input(i))?.dtype ?? null;
export const typed = (dtype: DType | null, shape: readonly Dim[] | null): TensorType | null =>
  dtype === null ? null : tensorType(dtype, shape);
export const axisOf = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

export const table = (names: string, rule: Rule): Readonly<Record<string, Rule>> =>
  Object.fromEntries(names.split(' ').map((n) => [n, rule]));

/** One result, of the first operand's type. */
export const likeFirst: Rule = (node, known) => [{ type: known.type(node.input(0)) }];

/** A norm gives x normalized, and statistics of its tokens. */
export const norm: Rule = (node, known) => {
  const type = known.type(node.input(0));
  const statistic = { type: type && tensorType('f32', type.shape && [...type.shape.slice(0, -1), 1]) };
  return [{ type }, statistic, statistic];
};

/** A product of two matrices, either of which may come transposed. */
export const gemm: Rule = (node, known) => {
  const [a, b] = [shapeOf(node, 0, known), shapeOf(node, 1, known)];
  const result = a && b ? [intAttribute(node, 'transA', 0) ? a[1]! : a[0]!, intAttribute(node, 'transB', 0) ? b[0]! : b[1]!] : null;
  return [{ type: typed(dtypeOf(node, 0, known), result) }];
};
