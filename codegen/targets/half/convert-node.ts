import { int } from '../../../ir/attributes.ts';
import type { Node, Value } from '../../../ir/graph.ts';
import { dtypes, tensorType, type DType } from '../../../ir/types.ts';
import { isKernel, type KernelName } from '../../kernels/bodies/call.ts';
import { kernelOperators } from '../../kernels/operators.ts';
import { floatOf, type Conversion } from './conversion.ts';
import { isStatistic, castRuleOf, softmaxInside } from './policy.ts';
import { requested, half, number, single, precisionAfter, rangeFaultOf, type Operand, type Precision } from './precision.ts';
import type { Float } from './counterparts.ts';

/** Brings the float operands and results of a node to the type that it computes in. */
export function convertNode(conversion: Conversion, node: Node): void {
  if (node.op === 'Cast') return settleCast(conversion, node);
  if (node.op === 'CastLike') return settleCastLike(conversion, node);
  if (node.op === 'ConstantOfShape') return settleFilled(conversion, node);
  const rule = castRuleOf(node.op);
  if (rule === 'extents' || isUntouched(conversion, node)) return;
  const slots = floatSlots(node);
  if (isOpaque(node)) return leave(conversion, node);
  const operands = slots.map((i) => operandAt(conversion, node, i));
  const after = precisionAfter(node, rule, operands);
  const dtype: Float = after.kind === 'half' ? 'f16' : 'f32';
  report(conversion, node, slots, operands);
  for (const i of slots) give(conversion, node, i, dtype);
  if (dtype === 'f16' && node.op === softmaxInside.op) computeSoftmaxInSingle(conversion, node);
  node.outputs.forEach((o, i) =>
    settleResult(conversion, o, isFixedResult(node, i) ? { dtype: 'f32', precision: half } : { dtype, precision: after }),
  );
  fixPorts(conversion, node);
}

/** The operands that have the type in which a node computes. */
const floatSlots = (node: Node): readonly number[] =>
  node.operands.flatMap(({ value }, i) => (value && floatOf(value.type) && !isFixedOperand(node, i) ? [i] : []));

/** Ports of our kernels that are f32 whatever the node computes in. */
const isFixedOperand = (node: Node, i: number): boolean =>
  isKernel(node.op) && kernelOperators[node.op.slice(3) as KernelName].inputs[i]?.type === 'f32';

/** Also the statistics that norms give are f32. */
function isFixedResult(node: Node, i: number): boolean {
  if (isKernel(node.op)) return kernelOperators[node.op.slice(3) as KernelName].outputs[i]?.type === 'f32';
  return isStatistic(node.op, i);
}

function fixPorts(conversion: Conversion, node: Node): void {
  node.operands.forEach(({ value }, i) => {
    if (value && floatOf(value.type) && isFixedOperand(node, i)) give(conversion, node, i, 'f32');
  });
}

/** All its floats were f16 in the model. */
function isUntouched(conversion: Conversion, node: Node): boolean {
  const values = [...node.operands.flatMap((u) => u.value ?? []), ...node.outputs].filter((v) => floatOf(v.type));
  return values.every((v) => conversion.isOwn(v));
}

/** Nobody knows what it reads, or it computes with graphs of its own. */
const isOpaque = (node: Node): boolean =>
  node.bodies.length > 0 || node.operands.some((u) => u.value !== null && u.value.type === null && u.value.constant === null);

/** A node that gets what it was written for. */
function leave(conversion: Conversion, node: Node): void {
  node.operands.forEach(({ value }, i) => {
    if (value && floatOf(value.type)) give(conversion, node, i, conversion.isOwn(value) ? 'f16' : 'f32');
  });
  for (const o of node.outputs) if (o.type?.dtype === 'f32') conversion.settle(o, single);
}

function operandAt(conversion: Conversion, node: Node, i: number): Operand {
  const value = node.input(i)!;
  const precision = conversion.precision(value)!;
  const mask = node.op === softmaxInside.op && i === softmaxInside.mask;
  const fixed = value.constant !== null || precision.kind === 'number' || precision.kind === 'requested';
  const long = (value.type!.shape ?? []).filter((d) => typeof d === 'number' && d > 1);
  return { ...precision, exact: fixed && !mask, matrix: precision.kind === 'constant' && long.length > 1 };
}

function give(conversion: Conversion, node: Node, i: number, dtype: Float): void {
  const value = node.input(i)!;
  const counterpart = conversion.counterparts.as(value, dtype);
  if (counterpart !== value) conversion.graph.setInput(node, i, counterpart);
}

interface Result {
  readonly dtype: Float;
  readonly precision: Precision;
}

function settleResult(conversion: Conversion, value: Value, { dtype, precision }: Result): void {
  if (!floatOf(value.type)) return;
  conversion.graph.setType(value, tensorType(dtype, value.type!.shape));
  conversion.settle(value, precision);
}

/** Reports weights and biases that f16 cannot hold, but not single numbers and masks. */
function report(conversion: Conversion, node: Node, slots: readonly number[], operands: readonly Operand[]): void {
  slots.forEach((i, k) => {
    const value = node.input(i)!;
    const rank = value.constant?.shape.length ?? 0;
    const weight = rank === 1 || (rank > 1 && castRuleOf(node.op) === 'allow' && operands[k]!.exact);
    if (weight && operands[k]!.rangeFault === 'overflow' && !conversion.unrepresentable.some((s) => s.value === value))
      conversion.unrepresentable.push({ value, reader: node });
  });
}

/** Casts of the model stay. Those from integers give numbers, those from its own f16 give what it wants in f32. */
function settleCast(conversion: Conversion, node: Node): void {
  const x = node.input(0)!;
  const to = dtypeOfCast(node);
  if (to === 'f16') conversion.settle(node.output, half);
  if (to !== 'f32') return;
  const precision = conversion.precision(x);
  if (precision === null) return conversion.settle(node.output, isSum(x) ? single : number);
  if (conversion.isOwn(x)) return conversion.settle(node.output, requested);
  conversion.settle(node.output, precision.kind === 'constant' ? { ...precision, kind: 'number' } : precision);
  if (x.type!.dtype === 'f16') conversion.counterparts.set(node.output, x);
}

const dtypeOfCast = (node: Node): DType | null => {
  const to = node.attributes.get('to');
  return to?.kind === 'int' ? (dtypes[Number(to.value) - 1] ?? null) : null;
};

/** Sums of products of integers are activations, not numbers. */
const isSum = (x: Value): boolean => x.producer?.op === 'MatMulInteger';

function settleCastLike(conversion: Conversion, node: Node): void {
  const like = node.input(1);
  const dtype = floatOf(like?.type ?? null);
  if (!like || dtype === null) return;
  settleResult(conversion, node.output, { dtype, precision: dtype === 'f16' ? half : number });
}

/** Filled with one number: a mask, as a rule. */
function settleFilled(conversion: Conversion, node: Node): void {
  if (node.output.type?.dtype !== 'f32') return;
  const value = node.attributes.get('value');
  conversion.settle(node.output, { kind: 'number', rangeFault: value?.kind === 'tensor' ? rangeFaultOf(value.value) : null });
}

/** `softmax_precision` says that the probabilities inside are computed in f32. */
function computeSoftmaxInSingle({ graph }: Conversion, node: Node): void {
  graph.setAttributes(node, { softmax_precision: int(1), ...Object.fromEntries(node.attributes) });
}
