import { int } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { integersOf } from '../../ir/constants.ts';
import type { Node, Value } from '../../ir/graph.ts';
import { Slice, Split } from '../../ir/ops/generated.ts';
import { traitsOf } from '../../ir/ops/traits.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { isOutput } from '../../ir/pattern.ts';
import type { RewriteRule } from '../../ir/rewrite.ts';
import { hasRole } from '../operators/index.ts';

interface Part {
  readonly slice: Slice;
  readonly start: number;
  readonly end: number;
}

/** Slices that cut all channels of a packed projection into parts, side by side = Split. */
export const packedProjection: RewriteRule = {
  name: 'raise-packed-projection',
  apply(node, graph) {
    const first = viewAs(Slice, node);
    if (!first || !isProjection(first.data)) return 'no-match';
    const whole = first.data;
    const size = whole.type?.shape?.at(-1);
    const found = [...whole.uses]
      .filter((use) => !traitsOf(use.node.op).readsExtents)
      .map((use) => (use.index === 0 ? partOf(use.node) : null));
    const parts = found.filter((p) => p !== null).toSorted((a, b) => a.start - b.start);
    if (typeof size !== 'number' || isOutput(whole) || parts.length < found.length || !tile(parts, size)) return 'no-match';
    const build = Builder.behind(graph, whole);
    const sizes = build.ints(
      'sizes',
      parts.map((p) => p.end - p.start),
    );
    const results = parts.map(({ slice }) => ({ name: graph.freshName(slice.output.name), type: slice.output.type }));
    const made = build.insert({ op: Split.schema.op, inputs: [whole, sizes], attributes: { axis: int(-1) }, results });
    parts.forEach(({ slice }, i) => graph.replace(slice.output, made.outputs[i]!));
    return 'applied';
  },
};

/** The result of a linear, behind a bias. */
const isProjection = (v: Value): boolean =>
  hasRole(v.producer, 'linear') ||
  (hasRole(v.producer, 'sum') && [0, 1].some((i) => hasRole(v.producer!.input(i)?.producer ?? null, 'linear')));

/** What a Slice of the last axis with constant ends cuts out. */
function partOf(node: Node): Part | null {
  const slice = viewAs(Slice, node);
  const size = slice?.data.type?.shape?.at(-1);
  const rank = slice?.data.type?.shape?.length;
  const [starts, ends, axes] = [slice?.starts, slice?.ends, slice?.axes].map((v) => integersOf(v ?? null));
  const steps = slice?.steps ? integersOf(slice.steps) : [1];
  if (!slice || typeof size !== 'number' || starts?.length !== 1 || ends?.length !== 1 || axes?.length !== 1 || steps?.join() !== '1')
    return null;
  const place = (x: number): number => Math.min(Math.max(x < 0 ? x + size : x, 0), size);
  return axes[0] === -1 || axes[0] === rank! - 1 ? { slice, start: place(starts[0]!), end: place(ends[0]!) } : null;
}

/** Whether parts lie side by side from the first channel to the last. */
const tile = (parts: readonly Part[], size: number): boolean =>
  parts.length > 1 && parts.every((p, i) => p.start === (parts[i - 1]?.end ?? 0) && p.end > p.start) && parts.at(-1)?.end === size;
