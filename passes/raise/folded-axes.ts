import { int } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { scalarOf } from '../../ir/constants.ts';
import type { Node, Value } from '../../ir/graph.ts';
import { Add, Concat, Div, MatMul, Mul, Reshape, Shape, Sub, Transpose } from '../../ir/ops/generated.ts';
import { viewAs } from '../../ir/ops/view.ts';
import type { RewriteRule } from '../../ir/rewrite.ts';
import { productOf, sameShape } from '../../ir/shapes/dims.ts';
import { tensorType, type Dim } from '../../ir/types.ts';
import { transposed, unfolded } from './layout.ts';

type Lead = readonly [Dim, number];

/** A value [a * b, rows, columns] whose first axis a Reshape made of two, which are `lead`, and the value before that. */
interface Folded {
  readonly apart: Value;
  readonly lead: Lead;
}

function foldedOf(v: Value | null): Folded | null {
  const reshape = viewAs(Reshape, v?.producer ?? null);
  const [from, to] = [reshape?.data.type?.shape, v?.type?.shape];
  if (!reshape || from?.length !== 4 || to?.length !== 3) return null;
  const [a, b, rows, columns] = from as [Dim, Dim, Dim, Dim];
  const known = typeof b === 'number' && sameShape(to, [productOf([a, b]), rows, columns]);
  return known ? { apart: reshape.data, lead: [a, b] } : null;
}

const elementwise: ReadonlySet<string> = new Set([Add, Sub, Mul, Div].map(({ schema }) => schema.op));

/** f(Reshape(x)) = Reshape(f(x)), where f multiplies matrices or scores, and Reshape makes batch and heads one axis: the axes stay apart. */
const sinkFolding: RewriteRule = {
  name: 'sink-folded-axes',
  apply(node, graph) {
    const product = node.op === MatMul.schema.op;
    if ((!product && !elementwise.has(node.op)) || node.output.type?.shape?.length !== 3) return 'no-match';
    const found = node.operands.map((u) => foldedOf(u.value)).find((f) => f !== null && (product || isProduct(f.apart)));
    if (!found) return 'no-match';
    if (!node.operands.every((u) => u.value !== null && (isCommon(u.value) || isOf(u.value, found.lead)))) return 'no-match';
    const build = Builder.before(node);
    const inputs = node.operands.map(({ value }) => (isCommon(value!) ? value : apartOf(build, value!, found.lead)));
    const [, rows, columns] = node.output.type.shape as [Dim, Dim, Dim];
    const type = tensorType(node.output.type.dtype, [...found.lead, rows, columns]);
    const attributes = Object.fromEntries(node.attributes);
    const made = build.node(node.op, inputs, { attributes, like: node.output, type, name: node.name }).output;
    graph.replaceUses(node.output, together(build, made, node));
    return 'applied';
  },
};

/** Whether a value is a product of matrices, scaled and masked at most. */
function isProduct(v: Value): boolean {
  const node = v.producer;
  return (
    node?.op === MatMul.schema.op ||
    (node !== null && elementwise.has(node.op) && node.operands.some((u) => u.value !== null && isProduct(u.value)))
  );
}

/** Whether an operand is the same for all of the folded axes. */
function isCommon(v: Value): boolean {
  const shape = v.type?.shape;
  return scalarOf(v) !== null || (shape !== undefined && shape !== null && (shape.length < 3 || shape[0] === 1));
}

const isOf = (v: Value, lead: Lead): boolean => v.type?.shape?.length === 3 && v.type.shape[0] === productOf(lead);

/** An operand with the axes `lead` apart. */
function apartOf(build: Builder, v: Value, lead: Lead): Value {
  const turn = viewAs(Transpose, v.producer);
  if (turn?.perm?.join() !== '0,2,1') return unfolded(build, v, lead)!;
  const type = tensorType(v.type!.dtype, [...lead, ...v.type!.shape!.slice(1)]);
  return transposed(build, unfolded(build, turn.data, lead)!, [0, 1, 3, 2], v, type);
}

/** [a, b, rows, columns] to [a * b, rows, columns]. */
function together(build: Builder, data: Value, { output }: Node): Value {
  const tail = build.make(Shape, { data }, { attributes: { start: int(2) }, like: data, type: tensorType('i64', [2]) }).shape;
  const joined = { attributes: { axis: int(0) }, like: data, type: tensorType('i64', [3]) };
  const shape = build.make(Concat, { inputs: [build.ints('folded', [-1]), tail] }, joined).concat_result;
  return build.make(Reshape, { data, shape }, { like: output }).reshaped;
}

/** Where exporters multiply heads as one axis with the batch. */
export const foldedAxes: readonly RewriteRule[] = [sinkFolding];
