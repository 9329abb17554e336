import { int } from '../../ir/attributes.ts';
import type { Builder } from '../../ir/builder.ts';
import type { Value } from '../../ir/graph.ts';
import { codeRange, groupIndex } from '../../ir/quant.ts';
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
  const [sizes, groupOf] = [build.ints('sizes', groups), build.ints('groups', groupIndex(groups))];
  return roundedRuns(build, weight, spec, { count: groups.length, sizes, groupOf });
}

/** Runs of rows, which may be empty, of a matrix whose rows are known when the graph runs. */
export interface Runs {
  readonly count: number;
  /** [count]. */
  readonly sizes: Value;
  /** The run of every row. */
  readonly groupOf: Value;
}

/** As `roundedWeight`, with one scale for each output channel and run. */
export function roundedRuns(build: Builder, weight: Value, spec: WeightScheme, runs: Runs): Value {
  const parts = split(build, weight, runs);
  const each = (op: string): Value =>
    build.value(
      'Concat',
      parts.map((part) => reduced(build, op, part, [0])),
      { axis: int(0) },
    );
  const { scale, least, most } = stepsOver(build, each('ReduceMin'), each('ReduceMax'), spec);
  const ofRows = (v: Value): Value => build.value('Gather', [v, runs.groupOf]);
  return onSteps(build, weight, { scale: ofRows(scale), least: ofRows(least), most: ofRows(most) });
}

/** Q with one scale for each place that is left when the axes are reduced. */
const rounded = (build: Builder, w: Value, spec: WeightScheme, axes: readonly number[]): Value =>
  onSteps(build, w, stepsOver(build, reduced(build, 'ReduceMin', w, axes), reduced(build, 'ReduceMax', w, axes), spec));

const reduced = (build: Builder, op: string, w: Value, axes: readonly number[]): Value => build.value(op, [w, build.ints('axes', axes)]);

/** s, and the steps of it between which W / s is clipped. */
interface Steps {
  readonly scale: Value;
  readonly least: Value;
  readonly most: Value;
}

/** The steps over the range from the least to the largest weight. */
function stepsOver(build: Builder, min: Value, max: Value, spec: WeightScheme): Steps {
  const range = codeRange(spec.bits, spec.symmetric);
  const [nought, least, most] = [0, range.min, range.max].map((x) => build.scalar('bound', x)) as [Value, Value, Value];
  const [bareLow, bareHigh] = [build.value('Min', [min, nought]), build.value('Max', [max, nought])];
  const amplitude = build.value('Max', [bareHigh, build.value('Neg', [bareLow])]);
  const [low, high] = spec.symmetric ? [build.value('Neg', [amplitude]), amplitude] : [bareLow, bareHigh];
  const bare = build.value('Div', [build.value('Sub', [high, low]), build.scalar('steps', range.max - range.min)]);
  const scale = build.value('Where', [build.value('Equal', [bare, nought]), build.scalar('unit', 1), bare]);
  const zero = build.value('Clip', [build.value('Sub', [least, build.value('Round', [build.value('Div', [low, scale])])]), least, most]);
  return { scale, least: build.value('Sub', [least, zero]), most: build.value('Sub', [most, zero]) };
}

function onSteps(build: Builder, w: Value, { scale, least, most }: Steps): Value {
  const whole = build.value('Round', [build.value('Div', [w, scale])]);
  return build.value('Mul', [build.value('Min', [build.value('Max', [whole, least]), most]), scale]);
}

function split(build: Builder, v: Value, { sizes, count }: Runs): readonly Value[] {
  const results = Array.from({ length: count }, (_, i) => ({ name: build.graph.freshName(`part ${i} of ${v.name}`), type: null }));
  return build.insert({ op: 'Split', inputs: [v, sizes], attributes: { axis: int(0) }, results }).outputs;
}
