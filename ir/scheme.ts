import type { Role } from './ops/qc.ts';
import type { Grid } from './quant.ts';

/** How weights are quantized. */
export interface WeightScheme {
  readonly bits: number;
  readonly symmetric: boolean;
  readonly grid: Grid;
  /** One scale for each output channel, or one for the whole matrix. */
  readonly per: 'channel' | 'tensor';
}

/** How the activations of a site are quantized. */
export interface ActivationScheme {
  readonly bits: number;
  readonly symmetric: boolean;
  readonly grid: Grid;
  /** `static`: from calibration, one scale for each group of channels that the site has. `token`: found for each token at run time. */
  readonly range: 'static' | 'token';
}

/** What is quantized, and how. A role that is missing stays in float. */
export interface Scheme {
  readonly name: string;
  readonly summary: string;
  readonly weights: WeightScheme | null;
  readonly activations: Readonly<Partial<Record<Role, ActivationScheme>>>;
  /** Inputs behind gated products stay in float; missing, they are quantized like other inputs of linears. */
  readonly gated?: 'float';
  /**
   * Whether the published scheme quantizes softmax results: RPTQ to 8 bits with the scale 1/255, OS+ like its other activations. Here they
   * stay in float, because Attention is one operator; the ledger says so.
   */
  readonly probabilities: boolean;
}
