import { parametersFor, roundHalfEven, type QuantSpec } from '../../ir/quant.ts';

export type WeightSpec = Pick<QuantSpec, 'bits' | 'symmetric' | 'grid'>;

export interface WeightParameters {
  /** [groups, out]. */
  readonly scale: Float32Array;
  /** [groups, out], integers. */
  readonly zero: Float32Array;
}

/** Round-to-nearest scales and zero points of W [in, out], one for each run of rows in `sizes` and each column; or one for all. */
export function weightParameters(w: Float32Array, columns: number, sizes: readonly number[], spec: WeightSpec, wholeTensor: boolean): WeightParameters {
  const scale = new Float32Array(sizes.length * columns);
  const zero = new Float32Array(sizes.length * columns);
  const min = new Float32Array(columns);
  const max = new Float32Array(columns);
  let row = 0;
  sizes.forEach((size, g) => {
    min.fill(Infinity);
    max.fill(-Infinity);
    for (const end = row + size; row < end; row++) {
      for (let c = 0; c < columns; c++) {
        const x = w[row * columns + c]!;
        if (x < min[c]!) min[c] = x;
        if (x > max[c]!) max[c] = x;
      }
    }
    if (wholeTensor) {
      min.fill(min.reduce((a, b) => Math.min(a, b)));
      max.fill(max.reduce((a, b) => Math.max(a, b)));
    }
    for (let c = 0; c < columns; c++) {
      const p = parametersFor(min[c]!, max[c]!, spec);
      scale[g * columns + c] = p.scale;
      zero[g * columns + c] = p.zero;
    }
  });
  return { scale, zero };
}

/** The integer codes of W, given its parameters: clip(round(w / scale) + zero). */
export function weightCodes(w: Float32Array, columns: number, sizes: readonly number[], p: WeightParameters, bounds: { readonly min: number; readonly max: number }): Int8Array {
  const codes = new Int8Array(w.length);
  let row = 0;
  sizes.forEach((size, g) => {
    for (const end = row + size; row < end; row++) {
      for (let c = 0; c < columns; c++) {
        const at = row * columns + c;
        const code = roundHalfEven(w[at]! / p.scale[g * columns + c]!) + p.zero[g * columns + c]!;
        codes[at] = Math.min(Math.max(code, bounds.min), bounds.max);
      }
    }
  });
  return codes;
}
