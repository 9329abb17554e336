/** Rows and columns that are exchanged at a time: both sides of such a square fit into the nearest cache. */
const side = 32;

/** Writes the transpose of `from` [rows, columns] into `to` [columns, rows]. */
export function transposeInto<T extends Uint8Array | Uint16Array | Uint32Array>(to: T, from: T, rows: number, columns: number): void {
  for (let top = 0; top < rows; top += side) {
    const bottom = Math.min(top + side, rows);
    for (let left = 0; left < columns; left += side) {
      const right = Math.min(left + side, columns);
      for (let c = left; c < right; c++) for (let r = top; r < bottom; r++) to[c * rows + r] = from[r * columns + c]!;
    }
  }
}
