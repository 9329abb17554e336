import type { Site } from '../../ir/ops/qc.ts';
import type { Statistics } from '../observe/statistics.ts';
import type { LossRegion } from './loss-region.ts';

/** A site that a method changes, with what it knows of it. */
export interface SearchedSite {
  readonly site: Site;
  readonly statistics: Statistics;
  readonly region: LossRegion;
}
