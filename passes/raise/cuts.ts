import { integersOf } from '../../ir/constants.ts';
import type { Node, Value } from '../../ir/graph.ts';
import { Gather, Slice, Split } from '../../ir/ops/generated.ts';
import { traitsOf } from '../../ir/ops/traits.ts';
import { viewAs } from '../../ir/ops/view.ts';

/** A value that holds some of the channels of another one. */
export interface Cut {
  readonly value: Value;
  /** Its channels by their places in the whole, in the order that they have here. */
  readonly channels: readonly number[];
  /** The extents behind batch and sequence. */
  readonly extents: readonly number[];
}

/** Places along one axis that a result takes, and whether the axis goes. */
interface Taken {
  readonly value: Value;
  readonly axis: number;
  readonly places: readonly number[];
  readonly drops: boolean;
}

/** The cuts that all readers of a value make, whose channels have these extents behind batch and sequence; null where a reader does another thing. */
export function cutsOf(whole: Value, extents: readonly number[]): readonly Cut[] | null {
  const taken: Taken[] = [];
  for (const { node, index } of whole.uses) {
    if (traitsOf(node.op).readsExtents) continue;
    const found = index === 0 ? takenBy(node, extents) : null;
    if (!found) return null;
    taken.push(...found);
  }
  const cuts = taken.map((t) => cutOf(t, extents));
  // The order of readers in a graph says nothing; parts stand as their first channels do.
  return cuts.toSorted((a, b) => a.channels[0]! - b.channels[0]!);
}

function takenBy(node: Node, extents: readonly number[]): readonly Taken[] | null {
  return bySplit(node, extents) ?? bySlice(node, extents) ?? byGather(node, extents);
}

/** An axis behind batch and sequence, counted from there; null for another one. */
function axisAmong(axis: number, extents: readonly number[]): number | null {
  const found = axis < 0 ? axis + extents.length : axis - 2;
  return found >= 0 && found < extents.length ? found : null;
}

const range = (start: number, end: number): readonly number[] => Array.from({ length: Math.max(end - start, 0) }, (_, i) => start + i);

function bySplit(node: Node, extents: readonly number[]): readonly Taken[] | null {
  const split = viewAs(Split, node);
  const axis = split && axisAmong(split.axis, extents);
  // Of parts side by side there is nothing to make.
  if (!split || axis === null || extents.length === 1) return null;
  let start = 0;
  return node.outputs.map((value) => {
    const size = Number(value.type?.shape?.at(axis + 2) ?? NaN);
    return { value, axis, places: range(start, (start += size)), drops: false };
  });
}

function bySlice(node: Node, extents: readonly number[]): readonly Taken[] | null {
  const slice = viewAs(Slice, node);
  const [starts, ends, axes] = [slice?.starts, slice?.ends, slice?.axes].map((v) => integersOf(v ?? null));
  const steps = slice?.steps ? integersOf(slice.steps) : [1];
  if (!slice || starts?.length !== 1 || ends?.length !== 1 || axes?.length !== 1 || steps?.join() !== '1') return null;
  const axis = axisAmong(axes[0]!, extents);
  if (axis === null) return null;
  const size = extents[axis]!;
  const place = (x: number): number => Math.min(Math.max(x < 0 ? x + size : x, 0), size);
  return [{ value: slice.output, axis, places: range(place(starts[0]!), place(ends[0]!)), drops: false }];
}

function byGather(node: Node, extents: readonly number[]): readonly Taken[] | null {
  const gather = viewAs(Gather, node);
  const axis = gather && axisAmong(gather.axis, extents);
  const index = integersOf(gather?.indices ?? null);
  if (!gather || axis === null || index?.length !== 1 || gather.indices.constant?.shape.length !== 0 || extents.length === 1) return null;
  const place = index[0]! < 0 ? index[0]! + extents[axis]! : index[0]!;
  return [{ value: gather.output, axis, places: [place], drops: true }];
}

function cutOf({ value, axis, places, drops }: Taken, extents: readonly number[]): Cut {
  const inner = extents.slice(axis + 1).reduce((a, b) => a * b, 1);
  const outer = extents.slice(0, axis).reduce((a, b) => a * b, 1);
  const channels = range(0, outer).flatMap((o) => places.flatMap((p) => range(0, inner).map((i) => (o * extents[axis]! + p) * inner + i)));
  const left = extents.flatMap((d, a) => (a !== axis ? [d] : drops ? [] : [places.length]));
  return { value, channels, extents: left };
}
