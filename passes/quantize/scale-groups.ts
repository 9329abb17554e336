import type { Layout } from '../../ir/layout.ts';
import type { Site } from '../../ir/ops/qc.ts';
import type { Grid } from '../../ir/quant.ts';
import type { ActivationScheme } from '../../ir/scheme.ts';
import type { ChannelRange } from '../../ir/channel.ts';
import { choice, flag, int } from '../infra/options.ts';

/** The options of a `Layout`, the same for every pass that quantizes. */
export const layoutOptions = {
  weights: choice('rows of a weight that share a scale: those of a cluster (auto), all, or blocks', ['auto', 'channel', 'block'], 'auto'),
  activations: choice(
    "the scheme's (auto), one static scale in spite of clusters (tensor), or symmetric for each token and block at run time (block)",
    ['auto', 'tensor', 'block'],
    'auto',
  ),
  block: int('channels in a block', 32, 1),
  gated: choice(
    'scales of inputs behind a gated product: for each token (token), for each token and 32 channels (block), or those of other inputs (static)',
    ['token', 'block', 'static'],
    'token',
  ),
  multiples: flag('make the scales of a weight whole multiples of one for each channel, so that 8-bit integers carry it', false),
} as const;

/** The runs of rows of a weight that share scales. */
export function rowGroups(rows: number, site: Site, { weights, block }: Layout): readonly number[] {
  if (weights === 'auto') return site.groups ?? [rows];
  if (weights === 'channel') return [rows];
  return Array.from({ length: Math.ceil(rows / block) }, (_, i) => Math.min(block, rows - i * block));
}

/** Clusters lie far from zero as a rule, so that a grid that must reach it would waste most of its steps: they take RPTQ's. */
export const clusterGrid = (activation: ActivationScheme, groups: readonly number[]): Grid =>
  groups.length > 1 && !activation.symmetric ? 'rptq' : activation.grid;

/** Channels in a run that shares a scale found at run time; 0, the whole row, where blocks do not divide the channels. */
export const runTimeBlock = (channels: number | null, { activations, block }: Layout): number =>
  activations === 'block' && channels !== null && channels % block === 0 ? block : 0;

/** The runs of channels of a site that share a static scale. */
export const channelGroups = (channels: number, site: Site, { activations }: Layout): readonly number[] =>
  activations === 'tensor' ? [channels] : (site.groups ?? [channels]);

/** The range of each run of channels. */
export function groupRanges({ min, max }: ChannelRange, sizes: readonly number[]): readonly (readonly [number, number])[] {
  let start = 0;
  return sizes.map((n) => {
    const [lo, hi] = [min.subarray(start, start + n), max.subarray(start, start + n)];
    start += n;
    return [Math.min(...lo), Math.max(...hi)] as const;
  });
}
