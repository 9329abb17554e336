import type { Builder } from '../../ir/builder.ts';
import type { Value } from '../../ir/graph.ts';
import { groupIndex } from '../../ir/quant.ts';
import type { WeightScheme } from '../../ir/scheme.ts';
import { roundedRuns, roundedWeight } from './round-weight.ts';

/** What makes Q(s W) of a weight W [C, out] and the widths s [C] of a candidate, where `build` is. */
export type CandidateWeight = (build: Builder, weight: Value, width: Value) => Value;

/** Q(s W), or s W where weights stay in float. */
export const wholeWeight =
  (scheme: WeightScheme | null, groups: readonly number[]): CandidateWeight =>
  (build, weight, width) => {
    const scaled = widened(build, weight, width);
    return scheme ? roundedWeight(build, scaled, scheme, groups) : scaled;
  };

/**
 * Q(s W) where `rounded` gives Q(W), which is computed once for all candidates: rows of a group in which every width is 1 are taken from
 * there. `changed` [groups] is 1 for the other groups, else 0.
 */
export function changedWeight(
  scheme: WeightScheme,
  groups: readonly number[],
  changed: Value,
  rounded: (weight: Value) => Value,
): CandidateWeight {
  return (build, weight, width) => {
    const groupOf = build.ints('groups', groupIndex(groups));
    const isChanged = build.value('Gather', [changed, groupOf]);
    const places = build.value('Transpose', [build.value('NonZero', [isChanged])]);
    const rows = build.value('Squeeze', [places, build.ints('axes', [1])]);
    const scaled = widened(build, build.value('Gather', [weight, rows]), build.value('Gather', [width, rows]));
    const sizes = build.value('Mul', [changed, build.ints('sizes', groups)]);
    const parts = roundedRuns(build, scaled, scheme, { count: groups.length, sizes, groupOf: build.value('Gather', [groupOf, rows]) });
    return build.value('ScatterND', [rounded(weight), places, parts]);
  };
}

/** s W for s [n] and W [n, out]. */
const widened = (build: Builder, weight: Value, width: Value): Value =>
  build.value('Mul', [weight, build.value('Unsqueeze', [width, build.ints('axes', [1])])]);
