import { groupIndex, parametersFor } from '../../ir/quant.ts';
import type { ActivationScheme } from '../../ir/scheme.ts';
import type { Feeds, HostTensor } from '../infra/executor.ts';
import { names } from './loss-settings.ts';

/** What one candidate does to a site of C channels: widths that it divides them by, and the range of each group that has a static scale. */
export interface Candidate {
  readonly width: Float64Array;
  readonly ranges: readonly (readonly [number, number])[];
}

/** The inputs of the loss graph that candidates decide, [K, C] each: widths and, for a static quantizer, scales and zero points. */
export function candidateFeeds(candidates: readonly Candidate[], activation: ActivationScheme | null, groups: readonly number[]): Feeds {
  const widths = rows(candidates.map((c) => c.width));
  if (!activation || activation.range === 'token') return { [names.widths]: widths };
  const parameters = candidates.map(({ ranges }) => {
    const ofGroups = ranges.map(([lo, hi]) => parametersFor(lo, hi, activation));
    return groupIndex(groups).map((g) => ofGroups[g]!);
  });
  return {
    [names.widths]: widths,
    [names.scales]: rows(parameters.map((of) => of.map((p) => p.scale))),
    [names.zeros]: rows(parameters.map((of) => of.map((p) => p.zero))),
  };
}

function rows(vectors: readonly ArrayLike<number>[]): HostTensor {
  const width = vectors[0]?.length ?? 0;
  const data = new Float32Array(vectors.length * width);
  vectors.forEach((v, k) => data.set(v, k * width));
  return { dtype: 'f32', shape: [vectors.length, width], data };
}
