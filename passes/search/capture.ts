import type { Graph, Value } from '../../ir/graph.ts';
import { sizeOf } from '../../ir/types.ts';
import type { Feeds, HostTensor, Spool } from '../infra/executor.ts';
import { float, int } from '../infra/options.ts';
import { sampleAt, type PassContext, type Samples } from '../infra/pass.ts';
import { giveOut, sweep } from '../blocks/sweep.ts';
import { drawn, rowsOf } from './draw.ts';
import { names } from './loss-settings.ts';
import type { LossSample } from './losses.ts';
import type { SearchedSite } from './searched-site.ts';

export interface CaptureSettings {
  /** How many tokens the loss is measured on. */
  readonly tokens: number;
  /** The most samples that they are drawn from; null: as many as have these tokens. */
  readonly batch: number | null;
  readonly seed: number;
  /** Whether as many samples again are drawn to judge what was chosen. */
  readonly judged?: boolean;
}

/** The options of `CaptureSettings`, the same for every pass that searches. */
export const captureOptions = {
  tokens: int('tokens that the loss is measured on, in whole samples where the site feeds an attention', 512, 1),
  batch: float('most samples that these tokens are drawn from', null, 1),
  seed: int('seed of the draw', 0, 0),
} as const;

/** What was captured on the way of some samples through the model. */
export interface Captured {
  /** What the loss of a site is measured on: whole samples where it feeds an attention, else tokens drawn from them. */
  samplesAt(searched: SearchedSite): Promise<readonly LossSample[]>;
  /** The same of the samples that were held out from the choice; none unless that is wanted and there are two samples at least. */
  heldOutAt(searched: SearchedSite): Promise<readonly LossSample[]>;
}

/** Runs samples that are drawn with the seed, and keeps in the spool what the loss graphs of the sites read. */
export async function capture(
  graph: Graph,
  searched: readonly SearchedSite[],
  settings: CaptureSettings,
  spool: Spool,
  ctx: PassContext,
): Promise<Captured> {
  const all = ctx.services.samples ?? [];
  const { samples: seen, tokens: counted } = searched[0]!.statistics;
  const enough = Math.max(1, Math.ceil((settings.tokens * seen) / Math.max(1, counted)));
  const most = Math.min(enough, settings.batch ?? enough);
  const places = drawn(all.length, settings.judged ? 2 * most : most, settings.seed);
  const samples: Samples = { length: places.length, at: (s) => all.at(places[s]!) };
  const wanted = new Map(searched.map((t) => [t.site.key, [t.site.x, ...t.region.others]] as const));
  await sweep(graph, samples, ctx, {
    augment: (block, copies) => giveOut(block, copies, [...wanted.values()].flat()),
    async onSample(s, values) {
      for (const [key, reads] of wanted) {
        const here = reads.flatMap((v: Value) => (values[v.name] ? [[v.name, values[v.name]!] as const] : []));
        const isHere = values[reads[0]!.name] !== undefined;
        if (isHere) await spool.put(`${key} ${s}`, Object.fromEntries(here));
      }
    },
  });
  const mask = ctx.services.mask ?? '';
  const samplesOf = async ({ site, region }: SearchedSite, some: readonly number[]): Promise<readonly LossSample[]> => {
    const whole = await Promise.all(
      some.map(async (s) => sampleOf(await spool.get(`${site.key} ${s}`), site.x.name, (await sampleAt(samples, s))[mask])),
    );
    return region.mixesTokens || whole.length === 0 ? whole : tokensOf(whole, settings);
  };
  const every = places.map((_, s) => s);
  const isHeldOut = (s: number): boolean => settings.judged === true && s % 2 === 1;
  return {
    samplesAt: (searched) =>
      samplesOf(
        searched,
        every.filter((s) => !isHeldOut(s)),
      ),
    heldOutAt: (searched) => samplesOf(searched, every.filter(isHeldOut)),
  };
}

function sampleOf(values: Feeds, x: string, mask: HostTensor | undefined): LossSample {
  const given = values[x]!;
  const tokens = tokenWeights(given, mask);
  const feeds = { ...values, [names.x]: given, ...(tokens ? { [names.tokens]: tokens } : {}) };
  return { feeds, tokens: tokens ? countKept(tokens) : sizeOf(given.shape.slice(0, -1)) };
}

const countKept = ({ data }: HostTensor): number => (data as Float32Array).reduce((a, b) => a + b, 0);

/** The mask as 0 and 1 in the shape of x's tokens, or null where it does not fit. */
function tokenWeights(x: HostTensor, mask: HostTensor | undefined): HostTensor | null {
  const shape = x.shape.slice(0, -1);
  if (!mask || sizeOf(mask.shape) !== sizeOf(shape)) return null;
  return { dtype: 'f32', shape, data: Float32Array.from(mask.data as Iterable<number | bigint>, (m) => (Number(m) === 0 ? 0 : 1)) };
}

/** At most about `tokens` of the tokens that count, drawn from each sample in proportion to what it has. */
function tokensOf(samples: readonly LossSample[], { tokens, seed }: CaptureSettings): readonly LossSample[] {
  const total = samples.reduce((n, s) => n + s.tokens, 0);
  const parts = samples.map(({ feeds }, s) => {
    const [x, kept] = [feeds[names.x]!, feeds[names.tokens]];
    const places = Array.from({ length: sizeOf(x.shape.slice(0, -1)) }, (_, i) => i).filter((i) => !kept || kept.data[i] === 1);
    const count = Math.min(places.length, Math.ceil((places.length * tokens) / Math.max(1, total)));
    return [x, drawn(places.length, count, seed + s).map((i) => places[i]!)] as const;
  });
  const x = rowsOf(parts);
  return [{ feeds: { [names.x]: x }, tokens: x.shape[0]! }];
}
