/** Which elements share one scale and zero point. */
export type Granularity =
  | { readonly kind: 'tensor' }
  /** One for each output channel of a weight. */
  | { readonly kind: 'channel' }
  /** One for each run of channels; runs may differ in size (RPTQ's clusters). */
  | { readonly kind: 'groups'; readonly sizes: readonly number[] }
  /** One for each token, found at run time. */
  | { readonly kind: 'token' }
  /** One for each token and each run of `size` channels, found at run time. */
  | { readonly kind: 'block'; readonly size: number };

/**
 * How the steps are laid over a range: `standard` has 2^n - 1 steps and a range that includes zero (OS+, ONNX);
 * `rptq` has 2^n steps over the bare range and an unbounded zero point, as RPTQ's code does.
 */
export type Grid = 'standard' | 'rptq';

/** How a value is quantized. */
export interface QuantSpec {
  readonly bits: number;
  readonly symmetric: boolean;
  readonly granularity: Granularity;
  readonly grid: Grid;
}

/** The codes of `bits`-bit signed integers; symmetric grids leave out the lowest. */
export const codeRange = (bits: number, symmetric: boolean): { readonly min: number; readonly max: number } => ({
  min: -(2 ** (bits - 1)) + (symmetric ? 1 : 0),
  max: 2 ** (bits - 1) - 1,
});

export interface QuantParameters {
  readonly scale: number;
  /** An integer, but not bounded by the code range when the grid is `rptq`. */
  readonly zero: number;
}

/** Below this a scale would overflow when inverted in f32. */
const smallestScale = 1.1754943508222875e-38;

/** Half to even, as ONNX `Round` and `QuantizeLinear` do. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** What decides the steps over a range. */
type RangeSpec = Pick<QuantSpec, 'bits' | 'symmetric' | 'grid'>;

/** Scale and zero point for values in [min, max]. RPTQ: section 1.5 of docs/methods.md; standard: section 2.4. */
export const parametersFor = (min: number, max: number, spec: RangeSpec): QuantParameters => parametersOn(spec)(min, max);

/** `parametersFor` one spec, for many ranges. */
export function parametersOn({ bits, symmetric, grid }: RangeSpec): (min: number, max: number) => QuantParameters {
  const { min: lowest, max: highest } = codeRange(bits, symmetric);
  if (symmetric)
    return (min, max) => ({ scale: Math.fround(Math.max(Math.max(Math.abs(min), Math.abs(max)) / highest, smallestScale)), zero: 0 });
  if (grid === 'rptq') {
    const step = 2 ** -bits;
    return (min, max) => {
      const scale = Math.fround(Math.min(Math.max((max - min) * step, 1e-4), 1e4));
      return { scale, zero: roundHalfEven(Math.min(Math.max(-(max + min) / (2 * scale), -1e4), 1e4)) + 0 };
    };
  }
  return (min, max) => {
    const [low, high] = [Math.min(min, 0), Math.max(max, 0)];
    const scale = Math.fround(Math.max((high - low) / (highest - lowest), smallestScale));
    return { scale, zero: Math.min(Math.max(lowest - roundHalfEven(low / scale), lowest), highest) };
  };
}

/** The value that a quantizer gives back for `x`: `(clip(round(x / scale) + zero) - zero) * scale`. */
export function fakeQuantize(x: number, { scale, zero }: QuantParameters, bits: number, symmetric: boolean): number {
  const { min, max } = codeRange(bits, symmetric);
  return (Math.min(Math.max(roundHalfEven(x / scale) + zero, min), max) - zero) * scale;
}

/** For every channel the number of the group that holds it. */
export function groupIndex(sizes: readonly number[]): number[] {
  return sizes.flatMap((n, g) => Array.from({ length: n }, () => g));
}

/**
 * Calls `f` for every group of rows of a matrix [rows, columns] with the place where it begins in a table [groups, columns], and those where
 * its rows begin and end in the matrix; `sizes` are the rows of each group.
 */
export function eachGroup(sizes: readonly number[], columns: number, f: (group: number, first: number, end: number) => void): void {
  let first = 0;
  sizes.forEach((size, g) => {
    const end = first + size * columns;
    f(g * columns, first, end);
    first = end;
  });
}
