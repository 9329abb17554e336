import type { ActivationScheme, WeightScheme } from '../../ir/scheme.ts';

/** Names of the loss graph's own inputs and of its output. */
export const names = {
  x: 'qc x',
  widths: 'qc widths',
  scales: 'qc scales',
  zeros: 'qc zeros',
  changed: 'qc changed',
  tokens: 'qc tokens',
  losses: 'qc losses',
} as const;

/** The quantizer of the site; `block` is the run of channels that share a scale found at run time, 0 for all. */
export interface LossActivation extends ActivationScheme {
  readonly block: number;
}

export interface LossSettings {
  readonly centre: Float64Array;
  readonly activation: LossActivation | null;
  readonly weights: WeightScheme | null;
  /** Rows of a weight that share a scale. */
  readonly groups: readonly number[];
  /** Whether the tokens that count come as an input. */
  readonly masked: boolean;
}

/** The most groups that are rounded each for itself: a graph has nodes for each of them and each linear. */
const mostGroups = 64;

/** Whether a weight's group is rounded anew only for candidates that change a width in it. */
export const roundsByGroup = ({ weights, groups }: LossSettings): boolean =>
  weights?.per === 'channel' && groups.length > 1 && groups.length <= mostGroups;
