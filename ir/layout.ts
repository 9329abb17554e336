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
}
