import { int } from '../../ir/attributes.ts';
import type { Builder } from '../../ir/builder.ts';
import type { Value } from '../../ir/graph.ts';
import { codeRange } from '../../ir/quant.ts';
import type { WeightScheme } from '../../ir/scheme.ts';

/**
 * Q(W) for W [in, out]: round to nearest, with one scale for each output channel and run of rows, or one for all, which the graph finds.
 *
 *     low = min(W, 0), high = max(W, 0), or -a and a with a = max |W| where codes are symmetric
 *     s = (high - low) / (qmax - qmin),  z = clip(qmin - round(low / s)),  Q(W) = s clip(round(W / s), qmin - z, qmax - z)
 */
export function roundedWeight(build: Builder, weight: Value, spec: WeightScheme, groups: readonly number[]): Value {
  if (spec.per === 'tensor') return rounded(build, weight, spec, [0, 1]);
  const [size = 0] = groups;
  if (groups.length === 1) return rounded(build, weight, spec, [0]);
  if (groups.every((n) => n === size)) {
    const runs = build.value('Reshape', [weight, build.ints('runs', [groups.length, size, -1])]);
    return build.value('Reshape', [rounded(build, runs, spec, [1]), build.value('Shape', [weight])]);
  }
  return roundedRuns(build, weight, spec, { sizes: build.ints('sizes', groups), count: groups.length });
}

/** Runs of rows whose sizes [count] are known when the graph runs, and may be 0. */
export interface Runs {
  readonly sizes: Value;
  readonly count: number;
}

/** As `roundedWeight`, with one scale for each output channel and run. */
export function roundedRuns(build: Builder, weight: Value, spec: WeightScheme, runs: Runs): Value {
  const parts = split(build, weight, runs).map((part) => rounded(build, part, spec, [0]));
  return build.value('Concat', parts, { axis: int(0) });
}

/** Q with one scale for each place that is left when the axes are reduced. */
function rounded(build: Builder, w: Value, spec: WeightScheme, axes: readonly number[]): Value {
  const { min, max } = codeRange(spec.bits, spec.symmetric);
  const [nought, least, most] = [0, min, max].map((x) => build.scalar('bound', x)) as [Value, Value, Value];
  const over = build.ints('axes', axes);
  const bareLow = build.value('Min', [build.value('ReduceMin', [w, over]), nought]);
  const bareHigh = build.value('Max', [build.value('ReduceMax', [w, over]), nought]);
  const amplitude = build.value('Max', [bareHigh, build.value('Neg', [bareLow])]);
  const [low, high] = spec.symmetric ? [build.value('Neg', [amplitude]), amplitude] : [bareLow, bareHigh];
  const bare = build.value('Div', [build.value('Sub', [high, low]), build.scalar('steps', max - min)]);
  const scale = build.value('Where', [build.value('Equal', [bare, nought]), build.scalar('unit', 1), bare]);
  const zero = build.value('Clip', [build.value('Sub', [least, build.value('Round', [build.value('Div', [low, scale])])]), least, most]);
  const whole = build.value('Round', [build.value('Div', [w, scale])]);
  const above = build.value('Max', [whole, build.value('Sub', [least, zero])]);
  const code = build.value('Min', [above, build.value('Sub', [most, zero])]);
  return build.value('Mul', [code, scale]);
}

function split(build: Builder, v: Value, { sizes, count }: Runs): readonly Value[] {
  const results = Array.from({ length: count }, (_, i) => ({ name: build.graph.freshName(`part ${i} of ${v.name}`), type: null }));
  return build.insert({ op: 'Split', inputs: [v, sizes], attributes: { axis: int(0) }, results }).outputs;
}
