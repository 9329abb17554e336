import { int, ints } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { integersOf, scalarOf } from '../../ir/constants.ts';
import type { Node, Value } from '../../ir/graph.ts';
import { Cast, Concat, Cos, Expand, Mul, Shape, Sin, Transpose, Unsqueeze } from '../../ir/ops/generated.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { any, op } from '../../ir/pattern.ts';
import { rule, type RewriteRule } from '../../ir/rewrite.ts';
import { sameShape } from '../../ir/shapes/dims.ts';
import { tensorType, type Dim } from '../../ir/types.ts';

/** What a value holds twice, one behind the other along an axis. */
interface Repetition {
  readonly once: Value;
  readonly axis: number;
}

function repetitionIn(v: Value | null): Repetition | null {
  const concat = viewAs(Concat, v?.producer ?? null);
  const [once, second, ...more] = concat?.inputs ?? [];
  const rank = once?.type?.shape?.length ?? 0;
  if (!concat || !once || rank === 0 || once !== second || more.length > 0) return null;
  return { once, axis: concat.axis < 0 ? concat.axis + rank : concat.axis };
}

const elementwise: ReadonlySet<string> = new Set([Cos, Sin, Cast].map(({ schema }) => schema.op));

/** The operand of a function of single elements; of a product, the one that is not a number. Null for other nodes. */
function operandOf(node: Node): number | null {
  if (elementwise.has(node.op)) return 0;
  const numbers = node.op === Mul.schema.op ? node.operands.map(({ value }) => scalarOf(value) !== null) : [];
  return numbers[0] === numbers[1] ? null : numbers.indexOf(false);
}

/** f(Concat(x, x)) = Concat(f(x), f(x)): angles are computed once for both halves of a head. */
export const sinkRepetition: RewriteRule = {
  name: 'sink-repetition',
  apply(node, graph) {
    const operand = operandOf(node);
    const found = operand === null ? null : repetitionIn(node.input(operand));
    const { type } = node.output;
    if (!found || !type) return 'no-match';
    const { once, axis } = found;
    const build = Builder.before(node);
    const inputs = node.operands.map(({ value }, i) => (i === operand ? once : value));
    const made = build.node(node.op, inputs, {
      attributes: Object.fromEntries(node.attributes),
      like: node.output,
      type: tensorType(type.dtype, once.type!.shape),
    }).output;
    const twice = build.make(Concat, { inputs: [made, made] }, { attributes: { axis: int(axis) }, like: node.output, name: node.name });
    graph.replace(node.output, twice.concat_result);
    return 'applied';
  },
};

/** Transpose(Concat(x, x)) = Concat(y, y) with y = Transpose(x). */
export const turnRepetition = rule('turn-repetition', op(Transpose, 'turn', { data: any('twice') }), ({ turn, twice }, build) => {
  const found = repetitionIn(twice);
  const { perm, transposed } = turn;
  if (!found || !perm) return 'no-match';
  const { dtype, shape } = found.once.type!;
  const type = tensorType(
    dtype,
    perm.map((p) => shape![p]!),
  );
  const made = { attributes: { perm: ints(perm) }, like: transposed, type };
  const once = build.make(Transpose, { data: found.once }, made).transposed;
  const both = { attributes: { axis: int(perm.indexOf(found.axis)) }, like: transposed, name: turn.node.name };
  build.graph.replace(transposed, build.make(Concat, { inputs: [once, once] }, both).concat_result);
});

/** The table [batch, seq, width / 2] of which `v`, [batch, 1, seq, width], holds two copies side by side; null where that is not known. */
export function tableOf(v: Value, width: number): Value | null {
  const unsqueeze = viewAs(Unsqueeze, v.producer);
  const axes = integersOf(unsqueeze?.axes ?? null)?.join();
  const found = axes === '1' || axes === '-3' ? repetitionIn(unsqueeze!.data) : null;
  const shape = found?.once.type?.shape;
  return shape?.length === 3 && found!.axis === 2 && shape[2] === width / 2 ? found!.once : null;
}

/** Tables with a row for each token of `x`, whose extents `axes` are batch and sequence: RotaryEmbedding does not broadcast them. */
export function fitted(build: Builder, tables: readonly Value[], x: Value, axes: readonly [number, number]): readonly Value[] {
  const tokens = axes.map((axis): Dim => x.type!.shape![axis]!);
  const fits = (table: Value): boolean => sameShape(table.type!.shape!.slice(0, 2), tokens);
  if (tables.every(fits)) return tables;
  const extent = (axis: number): Value =>
    build.make(Shape, { data: x }, { attributes: { start: int(axis), end: int(axis + 1) }, like: x, type: tensorType('i64', [1]) }).shape;
  const inputs = [...axes.map(extent), build.ints('one', [1])];
  const joined = { attributes: { axis: int(0) }, like: inputs[0]!, type: tensorType('i64', [3]) };
  const shape = build.make(Concat, { inputs }, joined).concat_result;
  return tables.map((input) => {
    const type = tensorType(input.type!.dtype, [...tokens, input.type!.shape![2]!]);
    return fits(input) ? input : build.make(Expand, { input, shape }, { like: input, type }).output;
  });
}
