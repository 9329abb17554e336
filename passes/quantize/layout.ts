import type { Site } from '../../ir/ops/qc.ts';
import { choice, int } from '../infra/options.ts';

/** How scales are laid over weights and activations where the scheme leaves it open: what a target has operators for. */
export interface Layout {
  readonly weights: 'auto' | 'channel' | 'block';
  readonly activations: 'auto' | 'block';
  readonly block: number;
}

/** The options of a `Layout`, the same for every pass that quantizes. */
export const layoutOptions = {
  weights: choice('rows of a weight that share a scale: those of a cluster (auto), all, or blocks', ['auto', 'channel', 'block'], 'auto'),
  activations: choice('as the scheme says, or symmetric for each token and block, found at run time', ['auto', 'block'], 'auto'),
  block: int('channels in a block', 32, 1),
} as const;

/** The runs of rows of a weight that share scales. */
export function rowGroups(rows: number, site: Site, { weights, block }: Layout): readonly number[] {
  if (weights === 'auto') return site.groups ?? [rows];
  if (weights === 'channel') return [rows];
  return Array.from({ length: Math.ceil(rows / block) }, (_, i) => Math.min(block, rows - i * block));
}
