import type { Matrix, Products } from './products.ts';

/** Rows that are computed here rather than in a product of ONNX Runtime. */
export const panel = 128;

/** Where a run of rows that is longer than a panel is halved: at a whole number of panels. */
export const middleOf = (first: number, end: number): number => first + panel * Math.ceil((end - first) / 2 / panel);

/** A square matrix by rows, in f64. */
export interface Square {
  readonly size: number;
  readonly data: Float64Array;
}

/**
 * Puts the upper triangular M with H = M M^T in the place of the upper half of a symmetric H, from the last rows up; what is below the diagonal
 * means nothing afterwards. False where H is not positive definite. Halves are eliminated by products:
 *
 *     [A  B]   [P  Q] [P^T   0 ]
 *     [.  C] = [0  R] [Q^T  R^T],   C = R R^T,  Q = B R^-T,  A - Q Q^T = P P^T
 */
export async function factorize(h: Square, products: Products, first = 0, end = h.size): Promise<boolean> {
  if (end - first <= panel) return factorizePanel(h, first, end);
  const middle = middleOf(first, end);
  if (!(await factorize(h, products, middle, end))) return false;
  await divide(h, products, [first, middle], [middle, end]);
  const q = partOf(h, [first, middle], [middle, end]);
  subtract(h, [first, middle], [first, middle], await products.timesTransposed(q, q));
  return factorize(h, products, first, middle);
}

type Run = readonly [first: number, end: number];

/** Q = B R^-T in the place of B, whose rows and columns are given, R being the diagonal part of those columns. */
async function divide(h: Square, products: Products, rows: Run, [first, end]: Run): Promise<void> {
  if (end - first <= panel) {
    const b = partOf(h, rows, [first, end]);
    return place(h, rows, [first, end], await products.timesTransposed(b, inverse(h, first, end)));
  }
  const middle = middleOf(first, end);
  await divide(h, products, rows, [middle, end]);
  const [q, r] = [partOf(h, rows, [middle, end]), partOf(h, [first, middle], [middle, end])];
  subtract(h, rows, [first, middle], await products.timesTransposed(q, r));
  await divide(h, products, rows, [first, middle]);
}

/** M of a diagonal part that is no larger than a panel. */
function factorizePanel({ size, data }: Square, first: number, end: number): boolean {
  for (let j = end - 1; j >= first; j--) {
    const own = j * size;
    const pivot = data[own + j]! - dot(data, own, own, j + 1, end);
    if (!(pivot > 0)) return false;
    const root = Math.sqrt(pivot);
    data[own + j] = root;
    for (let i = first; i < j; i++) data[i * size + j] = (data[i * size + j]! - dot(data, i * size, own, j + 1, end)) / root;
  }
  return true;
}

/** The sum over k, from `first` to `end`, of the products of elements k of two rows. */
function dot(data: Float64Array, a: number, b: number, first: number, end: number): number {
  let sum = 0;
  for (let k = first; k < end; k++) sum += data[a + k]! * data[b + k]!;
  return sum;
}

/** R^-1 of a diagonal part R that is upper triangular. */
function inverse({ size, data }: Square, first: number, end: number): Matrix<Float64Array> {
  const n = end - first;
  const x = new Float64Array(n * n);
  for (let j = 0; j < n; j++) {
    x[j * n + j] = 1 / data[(first + j) * size + first + j]!;
    for (let i = j - 1; i >= 0; i--) {
      const row = (first + i) * size + first;
      let sum = 0;
      for (let k = i + 1; k <= j; k++) sum += data[row + k]! * x[k * n + j]!;
      x[i * n + j] = -sum / data[row + i]!;
    }
  }
  return { rows: n, columns: n, data: x };
}

function partOf({ size, data }: Square, [top, bottom]: Run, [left, right]: Run): Matrix<Float64Array> {
  const [rows, columns] = [bottom - top, right - left];
  const part = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) part.set(data.subarray((top + i) * size + left, (top + i) * size + right), i * columns);
  return { rows, columns, data: part };
}

function place({ size, data }: Square, [top, bottom]: Run, [left, right]: Run, part: Float64Array): void {
  const columns = right - left;
  for (let i = 0; i < bottom - top; i++) data.set(part.subarray(i * columns, (i + 1) * columns), (top + i) * size + left);
}

function subtract({ size, data }: Square, [top, bottom]: Run, [left, right]: Run, part: Float64Array): void {
  const columns = right - left;
  for (let i = 0; i < bottom - top; i++) {
    const to = (top + i) * size + left;
    for (let j = 0; j < columns; j++) data[to + j]! -= part[i * columns + j]!;
  }
}
