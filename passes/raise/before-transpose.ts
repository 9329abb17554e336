import { int, type Attributes } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { integersOf } from '../../ir/constants.ts';
import type { Node, Value } from '../../ir/graph.ts';
import { Gather, Slice, Split, Squeeze, Transpose } from '../../ir/ops/generated.ts';
import { viewAs } from '../../ir/ops/view.ts';
import type { RewriteRule } from '../../ir/rewrite.ts';
import { tensorType, type Dim, type TensorType } from '../../ir/types.ts';
import { isNorm } from '../model/norms.ts';
import { permOf, transposed } from './layout.ts';

/** A node that gives parts of its first operand along one axis. */
interface Cut {
  readonly axis: number;
  /** Whether the axis is gone, as behind a Gather of one index. */
  readonly drops: boolean;
  /** The operands and attributes of the same cut along another axis of another value. */
  readonly along: (
    build: Builder,
    data: Value,
    axis: number,
  ) => { readonly inputs: readonly (Value | null)[]; readonly attributes: Attributes };
}

function cutOf(node: Node, rank: number): Cut | null {
  const [slice, split, gather, squeeze] = [viewAs(Slice, node), viewAs(Split, node), viewAs(Gather, node), viewAs(Squeeze, node)];
  const attributes = Object.fromEntries(node.attributes);
  const others = node.operands.slice(1).map((u) => u.value);
  const place = (axis: number): number => (axis < 0 ? axis + rank : axis);
  if (slice) {
    const [axis, ...more] = integersOf(slice.axes) ?? [];
    const inputs = (build: Builder, data: Value, to: number) => [data, ...others.with(2, build.ints('axis', [to]))];
    const along: Cut['along'] = (build, data, to) => ({ inputs: inputs(build, data, to), attributes });
    return axis !== undefined && more.length === 0 ? { axis: place(axis), drops: false, along } : null;
  }
  if (squeeze) {
    const [axis, ...more] = integersOf(squeeze.axes) ?? [];
    const along: Cut['along'] = (build, data, to) => ({ inputs: [data, build.ints('axis', [to])], attributes });
    return axis !== undefined && more.length === 0 ? { axis: place(axis), drops: true, along } : null;
  }
  const along: Cut['along'] = (_, data, to) => ({ inputs: [data, ...others], attributes: { ...attributes, axis: int(to) } });
  if (split) return { axis: place(split.axis), drops: false, along };
  const indices = gather?.indices.constant;
  return gather && indices && indices.shape.length < 2 ? { axis: place(gather.axis), drops: indices.shape.length === 0, along } : null;
}

/** A cut of Transpose(x) = Transpose of the same cut of x: behind the cut it may undo another Transpose. */
const cutFirst: RewriteRule = {
  name: 'cut-before-transpose',
  apply(node, graph) {
    const turn = viewAs(Transpose, node.operands[0]?.value?.producer ?? null);
    const perm = turn && permOf(turn);
    const cut = perm && cutOf(node, perm.length);
    if (!turn || !perm || !cut || node.outputs.some((o) => !o.type?.shape)) return 'no-match';
    const axis = perm[cut.axis]!;
    const left = cut.drops ? perm.filter((p) => p !== axis).map((p) => (p > axis ? p - 1 : p)) : perm;
    const build = Builder.before(node);
    const results = node.outputs.map((o) => ({ name: graph.freshName(`${o.name}.part`), type: turnedBack(o.type!, left) }));
    const made = build.insert({ op: node.op, ...cut.along(build, turn.data, axis), name: node.name, results });
    node.outputs.forEach((o, i) => graph.replaceUses(o, transposed(build, made.outputs[i]!, left, o)));
    return 'applied';
  },
};

/** A norm of Transpose(x) = Transpose of the norm of x, where the channels stay the last axis. */
const normFirst: RewriteRule = {
  name: 'norm-before-transpose',
  apply(node, graph) {
    const turn = viewAs(Transpose, node.operands[0]?.value?.producer ?? null);
    const perm = turn && permOf(turn);
    const last = (perm?.length ?? 0) - 1;
    const axis = node.attributes.get('axis');
    const tokens = axis === undefined || (axis.kind === 'int' && (axis.value === -1n || Number(axis.value) === last));
    if (!turn || !isNorm(node) || !tokens || perm?.[last] !== last || !node.output.type?.shape) return 'no-match';
    const build = Builder.before(node);
    const inputs = node.operands.map(({ value }, i) => (i === 0 ? turn.data : value));
    const type = turnedBack(node.output.type, perm);
    const made = build.node(node.op, inputs, { attributes: Object.fromEntries(node.attributes), like: node.output, type, name: node.name });
    graph.replaceUses(node.output, transposed(build, made.output, perm, node.output));
    return 'applied';
  },
};

/** The type of what a Transpose by `perm` makes `type`. */
function turnedBack({ dtype, shape }: TensorType, perm: readonly number[]): TensorType {
  const back: Dim[] = [];
  perm.forEach((p, i) => (back[p] = shape![i]!));
  return tensorType(dtype, back);
}

/** What stands behind a Transpose and may as well stand in front of it. */
export const beforeTranspose: readonly RewriteRule[] = [cutFirst, normFirst];
