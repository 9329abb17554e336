/** How scales lie over the weights and activations of a graph, where the scheme leaves it open: what a target has operators for. */
export interface Layout {
  /** The rows of a weight that share a scale: those of a cluster of its site (auto), all (channel), or `block` of them. */
  readonly weights: 'auto' | 'channel' | 'block';
  /** The scheme's scales (auto), one static scale in spite of clusters (tensor), or one for each token and `block` channels at run time. */
  readonly activations: 'auto' | 'tensor' | 'block';
  /** Channels, which are rows of a weight, in a block. */
  readonly block: number;
  /** Whether the scales of a column of a weight are whole multiples of one, so that 8-bit integers carry the whole column. */
  readonly multiples: boolean;
  /**
   * Inputs of linears behind a gated product, whose range a few samples do not show: one scale for each token, one for each token and block of
   * 32 channels, or a static one as elsewhere.
   */
  readonly gated: 'token' | 'block' | 'static';
}

/** What passes do to the channels of sites, as far as it decides which layout serves: sort them into clusters, or make their ranges equal. */
export type SiteTrait = 'clustered' | 'equalized';

/** What a target wants of the passes of a compile, each part where a pass has the option of that name. What is missing is left to them. */
export interface TargetLayout extends Partial<Layout> {
  /** Clusters end at multiples of this many channels. */
  readonly align?: number;
  /** Whether zero points may lie outside the codes (free), or are moved into weights and biases (fit). */
  readonly zeros?: 'fit' | 'free';
  /** Why an order of channels gains nothing with these scales, as in `one scale for each input`; missing where it does. */
  readonly unordered?: string;
}
