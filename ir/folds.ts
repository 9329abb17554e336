import { permAt, scaleAt, type ChannelTransform } from './channel.ts';
import { latest } from './latest.ts';
import { padded, room, rows } from './simd/rows.ts';
import { derived, floats, type Tensor } from './tensor.ts';

/**
 * One factor for each row, or one for each column, and `zero` after it: +0 makes +0 of -0, and -0 changes nothing. Every step rounds to f32,
 * so a fold of folds gives the bits that they give one after another.
 */
type Step =
  | { readonly axis: 'rows'; readonly scale: Float64Array | null; readonly zero: number }
  | { readonly axis: 'columns'; readonly scale: Float64Array };

/** A matrix whose element (r, c) is element (rows[r], columns[c]) of `base`, after some steps. A null order is the identity. */
interface Fold {
  readonly base: Tensor;
  readonly rows: Uint32Array | null;
  readonly columns: Uint32Array | null;
  readonly steps: readonly Step[];
}

/** How a tensor that a fold made comes about, so that a fold of it is one pass over what it was made of. */
const folds = new WeakMap<Tensor, Fold>();
const kept = latest();

// Halves round after every fold, so a fold of one starts anew.
const foldOf = (w: Tensor): Fold => folds.get(w) ?? { base: w, rows: null, columns: null, steps: [] };
const composes = (w: Tensor): boolean => w.dtype === 'f32' || w.dtype === 'f64';

/** Row perm[i] of the result is scale[i] times row i of `w`. */
export function foldRows(t: ChannelTransform, w: Tensor): Tensor {
  const { base, rows, columns, steps } = foldOf(w);
  const from = new Uint32Array(t.size);
  for (let i = 0; i < t.size; i++) from[permAt(t, i)] = i;
  const order = t.perm && from;
  const moved = steps.map((s) => (s.axis === 'rows' ? { ...s, scale: picked(s.scale, order) } : s));
  const scale = t.scale && Float64Array.from(from, (i) => scaleAt(t, i));
  return tensorOf(w, {
    base,
    rows: picked(rows, order) ?? order,
    columns,
    steps: scale ? [...moved, { axis: 'rows', scale, zero: -0 }] : moved,
  });
}

/** Column i of the result is scale[i] times column perm[i] of `w`. */
export function foldColumns(t: ChannelTransform, w: Tensor): Tensor {
  const { base, rows, columns, steps } = foldOf(w);
  const moved = steps.map((s) => (s.axis === 'columns' ? { ...s, scale: picked(s.scale, t.perm)! } : s));
  const added = t.scale ? [...moved, { axis: 'columns' as const, scale: t.scale }] : settled(moved);
  return tensorOf(w, { base, rows, columns: picked(columns, t.perm) ?? t.perm, steps: added });
}

/** Some steps, and +0 after them. */
function settled(steps: readonly Step[]): readonly Step[] {
  const last = steps.at(-1);
  const own = last?.axis === 'rows' ? last : null;
  return [...(own ? steps.slice(0, -1) : steps), { axis: 'rows', scale: own?.scale ?? null, zero: 0 }];
}

/** v[order[i]]. */
function picked<T extends Uint32Array | Float64Array>(v: T | null, order: Uint32Array | null): T | null {
  return v && order ? (v.map((_, i) => v[order[i]!]!) as T) : v;
}

function tensorOf(w: Tensor, fold: Fold): Tensor {
  const made = derived(
    w,
    w.shape,
    kept(() => folded(fold)),
  );
  if (composes(w)) folds.set(made, fold);
  return made;
}

function folded({ base, rows: order, columns, steps }: Fold): Float32Array {
  const [height = 0, width = 0] = base.shape;
  const from = floats(base);
  const to = new Float32Array(from.length);
  const [first] = steps;
  const rest = first?.axis === 'rows' ? steps.slice(1) : steps;
  const { line, source, places, scales } = room({
    line: ['f32', width],
    source: ['f32', width],
    places: ['u32', width],
    scales: ['f64', rest.length * padded(width)],
  });
  if (columns) places.set(columns);
  rest.forEach((step, i) => step.axis === 'columns' && scales.set(step.scale, i * padded(width)));
  const [at, by] = [line.byteOffset, (i: number) => scales.subarray(i * padded(width)).byteOffset];
  for (let r = 0; r < height; r++) {
    const start = (order ? order[r]! : r) * width;
    source.set(from.subarray(start, start + width));
    const [factor, zero] = first?.axis === 'rows' ? [factorOf(first, r), first.zero] : [1, -0];
    if (columns) rows.gatherScaled(at, source.byteOffset, places.byteOffset, width, factor, zero);
    else rows.scaleBy(at, source.byteOffset, width, factor, zero);
    rest.forEach((step, i) => {
      if (step.axis === 'columns') rows.scaleEach(at, by(i), width);
      else rows.scaleBy(at, at, width, factorOf(step, r), step.zero);
    });
    to.set(line, r * width);
  }
  return to;
}

const factorOf = (step: Step, row: number): number => step.scale?.[row] ?? 1;
