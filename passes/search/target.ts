import type { Site } from '../../ir/ops/qc.ts';
import type { Statistics } from '../../ir/statistics.ts';
import type { LossRegion } from './loss-graph.ts';

/** A site that OS+ changes, with what it knows of it. */
export interface Target {
  readonly site: Site;
  readonly statistics: Statistics;
  /** Whether its channels are centred. */
  readonly shift: boolean;
  readonly region: LossRegion;
}
