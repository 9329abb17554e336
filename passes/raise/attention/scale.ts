import { Builder } from '../../../ir/builder.ts';
import { scalarOf } from '../../../ir/constants.ts';
import type { Value } from '../../../ir/graph.ts';
import { Div, Mul, Reshape, Tanh, Transpose } from '../../../ir/ops/generated.ts';
import { viewAs } from '../../../ir/ops/view.ts';

/** A value as `factor` times another one. */
export interface Scaled {
  readonly value: Value;
  readonly factor: number;
}

/** Takes off factors that are numbers: x * k, k * x, x / k. */
export function unscaled(v: Value): Scaled {
  let at: Scaled = { value: v, factor: 1 };
  for (let next = step(v); next; next = step(at.value)) at = { value: next.value, factor: at.factor * next.factor };
  return at;
}

function step(v: Value): Scaled | null {
  const [mul, div] = [viewAs(Mul, v.producer), viewAs(Div, v.producer)];
  const [right, left] = [scalarOf(mul?.b ?? null), scalarOf(mul?.a ?? null)];
  if (mul && right !== null) return { value: mul.a, factor: right };
  if (mul && left !== null) return { value: mul.b, factor: left };
  const divisor = scalarOf(div?.b ?? null);
  return div && divisor !== null ? { value: div.a, factor: 1 / divisor } : null;
}

/** The factors of a value, those in front of nodes that only move elements, too. */
export function factorOf(v: Value): number {
  const { value, factor } = unscaled(v);
  const moved = movedBy(value);
  return moved ? factor * factorOf(moved) : factor;
}

/** A value without the factors that `factorOf` finds: what moves elements moves them unscaled. */
export function withoutFactors(v: Value): Value {
  const { value } = unscaled(v);
  const moved = movedBy(value);
  if (!moved || factorOf(moved) === 1) return value;
  const { op, attributes, operands } = value.producer!;
  const inputs = [withoutFactors(moved), ...operands.slice(1).map((u) => u.value)];
  return Builder.before(value.producer!).node(op, inputs, { attributes: Object.fromEntries(attributes), like: value }).output;
}

const movedBy = (v: Value): Value | null => (viewAs(Transpose, v.producer)?.data ?? viewAs(Reshape, v.producer)?.data) || null;

/** cap * tanh(x / cap): what is capped, with its own factors, and the cap; no cap is 0. */
export function uncapped(v: Value): Scaled & { readonly cap: number } {
  const outer = unscaled(v);
  const tanh = viewAs(Tanh, outer.value.producer);
  if (!tanh || outer.factor <= 0) return { ...outer, cap: 0 };
  const inner = unscaled(tanh.input);
  return { value: inner.value, factor: inner.factor * outer.factor, cap: outer.factor };
}
