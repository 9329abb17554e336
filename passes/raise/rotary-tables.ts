import { int } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { integersOf, scalarOf } from '../../ir/constants.ts';
import type { Node, Value } from '../../ir/graph.ts';
import { Cast, Concat, Cos, Expand, Mul, Shape, Sin, Unsqueeze } from '../../ir/ops/generated.ts';
import { viewAs } from '../../ir/ops/view.ts';
import type { RewriteRule } from '../../ir/rewrite.ts';
import { sameShape } from '../../ir/shapes/dims.ts';
import { tensorType, type Dim } from '../../ir/types.ts';

/** What `v` holds twice along its last axis, where it is made so; else null. */
function repeated(v: Value | null): Value | null {
  const concat = viewAs(Concat, v?.producer ?? null);
  const [first, second, ...more] = concat?.inputs ?? [];
  const rank = first?.type?.shape?.length ?? 0;
  const last = concat?.axis === -1 || concat?.axis === rank - 1;
  return first && rank > 0 && last && first === second && more.length === 0 ? first : null;
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
    const once = operand === null ? null : repeated(node.input(operand));
    const { type } = node.output;
    if (!once || !type) return 'no-match';
    const build = Builder.before(node);
    const inputs = node.operands.map(({ value }, i) => (i === operand ? once : value));
    const made = build.node(node.op, inputs, {
      attributes: Object.fromEntries(node.attributes),
      like: node.output,
      type: tensorType(type.dtype, once.type!.shape),
    }).output;
    const twice = build.make(Concat, { inputs: [made, made] }, { attributes: { axis: int(-1) }, like: node.output, name: node.name });
    graph.replace(node.output, twice.concat_result);
    return 'applied';
  },
};

/** The table [batch, seq, width / 2] of which `v`, [batch, 1, seq, width], holds two copies side by side; null where that is not known. */
export function tableOf(v: Value, width: number): Value | null {
  const unsqueeze = viewAs(Unsqueeze, v.producer);
  const axes = integersOf(unsqueeze?.axes ?? null)?.join();
  const table = axes === '1' || axes === '-3' ? repeated(unsqueeze!.data) : null;
  const shape = table?.type?.shape;
  return shape?.length === 3 && shape[2] === width / 2 ? table : null;
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
