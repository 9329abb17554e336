/** The extents of a transformer that decide how much memory it takes. */
export interface Extents {
  /** Weights of linears that a scheme quantizes, each [rows, columns], in any order. */
  readonly linears: readonly { readonly rows: number; readonly columns: number }[];
  /** Parameters that stay in float: embeddings, heads, norms, biases. */
  readonly others: number;
  readonly layers: readonly Layer[];
  /** Attentions of a model that are not recognised, whose caches and activations are unknown. */
  readonly attentionsLeft: number;
}

/** Channels of one layer, for each token. */
export interface Layer {
  readonly hidden: number;
  readonly heads: number;
  readonly query: number;
  /** What a cache keeps of each token. */
  readonly key: number;
  readonly value: number;
  /** What the first linears of the MLP give together: of a gated one, both halves. */
  readonly inner: number;
}
