import { int } from '../../../ir/attributes.ts';
import type { Node, Value } from '../../../ir/graph.ts';
import { dtypes, tensorType, type DType } from '../../../ir/types.ts';
import { isKernel, type KernelName } from '../../kernels/bodies/call.ts';
import { kernelOperators } from '../../kernels/operators.ts';
import { floatOf, type Halving } from './halving.ts';
import { isStatistic, mannerOf, softmaxInside } from './policy.ts';
import { asked, half, number, single, standingAfter, strainOf, type Operand, type Standing } from './standing.ts';
import type { Float } from './twins.ts';

/** Brings the float operands and results of a node to the type that it computes in. */
export function convertNode(halving: Halving, node: Node): void {
  if (node.op === 'Cast') return settleCast(halving, node);
  if (node.op === 'CastLike') return settleCastLike(halving, node);
  if (node.op === 'ConstantOfShape') return settleFilled(halving, node);
  const manner = mannerOf(node.op);
  if (manner === 'size' || isUntouched(halving, node)) return;
  const slots = floatSlots(node);
  if (isOpaque(node)) return leave(halving, node);
  const operands = slots.map((i) => operandAt(halving, node, i));
  const after = standingAfter(node, manner, operands);
  const dtype: Float = after.kind === 'half' ? 'f16' : 'f32';
  report(halving, node, slots, operands);
  for (const i of slots) give(halving, node, i, dtype);
  if (dtype === 'f16' && node.op === softmaxInside.op) computeSoftmaxInSingle(halving, node);
  node.outputs.forEach((o, i) =>
    settleResult(halving, o, isFixedResult(node, i) ? { dtype: 'f32', standing: half } : { dtype, standing: after }),
  );
  fixPorts(halving, node);
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

function fixPorts(halving: Halving, node: Node): void {
  node.operands.forEach(({ value }, i) => {
    if (value && floatOf(value.type) && isFixedOperand(node, i)) give(halving, node, i, 'f32');
  });
}

/** All its floats were f16 in the model. */
function isUntouched(halving: Halving, node: Node): boolean {
  const values = [...node.operands.flatMap((u) => u.value ?? []), ...node.outputs].filter((v) => floatOf(v.type));
  return values.every((v) => halving.isOwn(v));
}

/** Nobody knows what it reads, or it computes with graphs of its own. */
const isOpaque = (node: Node): boolean =>
  node.bodies.length > 0 || node.operands.some((u) => u.value !== null && u.value.type === null && u.value.constant === null);

/** A node that gets what it was written for. */
function leave(halving: Halving, node: Node): void {
  node.operands.forEach(({ value }, i) => {
    if (value && floatOf(value.type)) give(halving, node, i, halving.isOwn(value) ? 'f16' : 'f32');
  });
  for (const o of node.outputs) if (o.type?.dtype === 'f32') halving.settle(o, single);
}

function operandAt(halving: Halving, node: Node, i: number): Operand {
  const value = node.input(i)!;
  const standing = halving.standing(value)!;
  const mask = node.op === softmaxInside.op && i === softmaxInside.mask;
  const fixed = value.constant !== null || standing.kind === 'number' || standing.kind === 'asked';
  const long = (value.type!.shape ?? []).filter((d) => typeof d === 'number' && d > 1);
  return { ...standing, exact: fixed && !mask, matrix: standing.kind === 'free' && long.length > 1 };
}

function give(halving: Halving, node: Node, i: number, dtype: Float): void {
  const value = node.input(i)!;
  const twin = halving.twins.as(value, dtype);
  if (twin !== value) halving.graph.setInput(node, i, twin);
}

interface Result {
  readonly dtype: Float;
  readonly standing: Standing;
}

function settleResult(halving: Halving, value: Value, { dtype, standing }: Result): void {
  if (!floatOf(value.type)) return;
  halving.graph.setType(value, tensorType(dtype, value.type!.shape));
  halving.settle(value, standing);
}

/** Weights and biases that f16 does not hold are told; numbers that stand alone and masks are not worth a word. */
function report(halving: Halving, node: Node, slots: readonly number[], operands: readonly Operand[]): void {
  slots.forEach((i, k) => {
    const value = node.input(i)!;
    const rank = value.constant?.shape.length ?? 0;
    const weight = rank === 1 || (rank > 1 && mannerOf(node.op) === 'half' && operands[k]!.exact);
    if (weight && operands[k]!.strain === 'large' && !halving.strained.some((s) => s.value === value))
      halving.strained.push({ value, reader: node });
  });
}

/** Casts of the model stay. Those from integers give numbers, those from its own f16 give what it wants in f32. */
function settleCast(halving: Halving, node: Node): void {
  const x = node.input(0)!;
  const to = dtypeOfCast(node);
  if (to === 'f16') halving.settle(node.output, half);
  if (to !== 'f32') return;
  const standing = halving.standing(x);
  if (standing === null) return halving.settle(node.output, isSum(x) ? single : number);
  if (halving.isOwn(x)) return halving.settle(node.output, asked);
  halving.settle(node.output, standing.kind === 'free' ? { ...standing, kind: 'number' } : standing);
  if (x.type!.dtype === 'f16') halving.twins.set(node.output, x);
}

const dtypeOfCast = (node: Node): DType | null => {
  const to = node.attributes.get('to');
  return to?.kind === 'int' ? (dtypes[Number(to.value) - 1] ?? null) : null;
};

/** Sums of products of integers are activations, not numbers. */
const isSum = (x: Value): boolean => x.producer?.op === 'MatMulInteger';

function settleCastLike(halving: Halving, node: Node): void {
  const like = node.input(1);
  const dtype = floatOf(like?.type ?? null);
  if (!like || dtype === null) return;
  settleResult(halving, node.output, { dtype, standing: dtype === 'f16' ? half : number });
}

/** Filled with one number: a mask, as a rule. */
function settleFilled(halving: Halving, node: Node): void {
  if (node.output.type?.dtype !== 'f32') return;
  const value = node.attributes.get('value');
  halving.settle(node.output, { kind: 'number', strain: value?.kind === 'tensor' ? strainOf(value.value) : null });
}

/** `softmax_precision` says that the probabilities inside are computed in f32. */
function computeSoftmaxInSingle({ graph }: Halving, node: Node): void {
  graph.setAttributes(node, { softmax_precision: int(1), ...Object.fromEntries(node.attributes) });
}
