import type { Target } from '../../search/target.ts';

/** A site behind a norm that OS+ changes. */
export interface OsPlusTarget extends Target {
  /** Whether its channels are centred. */
  readonly shift: boolean;
}
