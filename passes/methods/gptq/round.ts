import { groupIndex } from '../../../ir/quant.ts';
import { padded, room, rows } from '../../../ir/simd/rows.ts';
import { middleOf, panel } from './factor.ts';
import type { Hessian } from './hessian.ts';
import type { Products } from './products.ts';

/** W [in, out] and the grid that it is rounded to. */
export interface Subject {
  readonly weight: Float32Array;
  readonly columns: number;
  readonly sizes: readonly number[];
  /** [groups, out]. */
  readonly scale: Float32Array;
  /** [groups, out], integers. */
  readonly zero: Float32Array;
  readonly qmin: number;
  readonly qmax: number;
  /** What no element of a column may be rounded beyond, [out]; null where codes alone are bounds. */
  readonly limit: Float32Array | null;
}

export interface Rounded {
  /** W^ [in, out], on the grid. */
  readonly weight: Float32Array;
  /** m (W - W^) [out]: what the rounded product lacks on average. */
  readonly bias: Float32Array;
  /** The mean squared error of a token's outputs, once the bias is corrected: the trace of (W - W^)^T H (W - W^). */
  readonly error: number;
}

/**
 * Rounds the rows of a weight one after another; each takes up what the errors of those before it, E = W - W^, do to the output. With
 * U = M / diag(M) of the Hessian's factor, in its order of rows,
 *
 *     W^[k] = Q(W[k] + sum over j < k of U[j, k] E[j])
 *
 * which is what GPTQ computes by the Cholesky factor of the inverse (Chee et al. 2023, theorem 6). The sum over rows that are done is a
 * product for each half of the rows; within a panel it is added row by row.
 */
export async function roundByHessian(subject: Subject, hessian: Hessian, products: Products): Promise<Rounded> {
  const { weight, columns } = subject;
  const { order, mean } = hessian;
  const targets = new Float32Array(weight.length);
  order.forEach((row, k) => targets.set(weight.subarray(row * columns, (row + 1) * columns), k * columns));
  const state: State = { subject, hessian, products, targets, rounded: new Float32Array(weight.length), groups: groupIndex(subject.sizes) };
  const error = await roundRows(state, 0, order.length);
  const bias = new Float64Array(columns);
  order.forEach((row, k) => {
    for (let c = 0; c < columns; c++) bias[c]! += mean[row]! * targets[k * columns + c]!;
  });
  return { weight: state.rounded, bias: Float32Array.from(bias), error };
}

interface State {
  readonly subject: Subject;
  readonly hessian: Hessian;
  readonly products: Products;
  /** In the order of the Hessian: what a row is to be rounded to, and E once that is done. */
  readonly targets: Float32Array;
  /** In the order of the weight. */
  readonly rounded: Float32Array;
  /** The group of each row of the weight. */
  readonly groups: readonly number[];
}

/** Rounds rows whose targets have what the rows before them add; gives the error. */
async function roundRows(state: State, first: number, end: number): Promise<number> {
  if (end - first <= panel) return roundPanel(state, first, end);
  const { columns } = state.subject;
  const middle = middleOf(first, end);
  const upper = await roundRows(state, first, middle);
  const errors = state.targets.subarray(first * columns, middle * columns);
  const added = await state.products.transposedTimes(
    { rows: middle - first, columns: end - middle, data: feedback(state.hessian, [first, middle], [middle, end]) },
    { rows: middle - first, columns, data: errors },
  );
  const at = middle * columns;
  for (let i = 0; i < added.length; i++) state.targets[at + i]! += added[i]!;
  return upper + (await roundRows(state, middle, end));
}

/** U of these rows j and columns k: M[j, k] / M[k, k]. */
function feedback({ factor: { size, data } }: Hessian, [top, bottom]: readonly [number, number], [left, right]: readonly [number, number]) {
  const columns = right - left;
  const part = new Float32Array((bottom - top) * columns);
  for (let k = left; k < right; k++) {
    const own = data[k * size + k]!;
    for (let j = top; j < bottom; j++) part[(j - top) * columns + k - left] = data[j * size + k]! / own;
  }
  return part;
}

/** Columns that are rounded together: those of a panel stay in the second cache. */
const tile = 256;

function roundPanel(state: State, first: number, end: number): number {
  const { factor } = state.hessian;
  const count = end - first;
  const factors = new Float32Array(count * count);
  for (let k = 0; k < count; k++) {
    const own = factor.data[(first + k) * (factor.size + 1)]!;
    for (let j = 0; j < k; j++) factors[k * count + j] = factor.data[(first + j) * factor.size + first + k]! / own;
  }
  let error = 0;
  for (let left = 0; left < state.subject.columns; left += tile) error += roundTile(state, first, count, left, factors);
  return error;
}

/** Rounds the rows of a panel in the columns of a tile; row k of `factors` has the U of the rows before it. */
function roundTile(
  { subject, hessian, targets, rounded, groups }: State,
  first: number,
  count: number,
  left: number,
  factors: Float32Array,
): number {
  const { weight, columns, scale, zero, qmin, qmax, limit } = subject;
  const width = Math.min(tile, columns - left);
  const stride = padded(width);
  const of = room({
    rows: ['f32', count * stride],
    factors: ['f32', count * count],
    scale: ['f32', width],
    zero: ['f32', width],
    code: ['i8', width],
    result: ['f32', width],
  });
  of.factors.set(factors);
  const [scales, zeros, code, result] = [of.scale.byteOffset, of.zero.byteOffset, of.code.byteOffset, of.result.byteOffset];
  let error = 0;
  for (let k = 0; k < count; k++) {
    const [row, from] = [hessian.order[first + k]!, (first + k) * columns + left];
    const target = of.rows.subarray(k * stride, k * stride + width);
    target.set(targets.subarray(from, from + width));
    rows.addRows(target.byteOffset, of.rows.byteOffset, stride, of.factors.byteOffset + 4 * k * count, k, width);
    if (limit) for (let c = 0; c < width; c++) target[c] = Math.min(Math.max(target[c]!, -limit[left + c]!), limit[left + c]!);
    const group = groups[row]! * columns + left;
    of.scale.set(scale.subarray(group, group + width));
    of.zero.set(zero.subarray(group, group + width));
    rows.codes(code, target.byteOffset, scales, zeros, width, qmin, qmax);
    rows.dequantize(result, code, scales, zeros, width);
    const at = row * columns + left;
    let squares = 0;
    for (let c = 0; c < width; c++) {
      squares += (target[c]! - of.result[c]!) ** 2;
      target[c] = weight[at + c]! - of.result[c]!;
    }
    error += hessian.factor.data[(first + k) * (hessian.factor.size + 1)]! ** 2 * squares;
    targets.set(target, from);
    rounded.set(of.result, at);
  }
  return error;
}
