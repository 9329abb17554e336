import type { SearchedSite } from '../../search/searched-site.ts';

/** A site behind a norm that OS+ changes. */
export interface OsPlusSite extends SearchedSite {
  /** Whether its channels are centred. */
  readonly shift: boolean;
}
