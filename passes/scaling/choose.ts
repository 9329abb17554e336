import type { Graph } from '../../ir/graph.ts';
import type { PassContext } from '../infra/pass.ts';
import { movedStatistics } from '../observe/statistics.ts';
import type { Captured } from '../search/capture.ts';
import { tokensIn, type LossSample } from '../search/losses.ts';
import { rangesUnder, siteLoss, type LossQuantizers } from './site-loss.ts';
import type { Left, ScaledSite } from './scaled-site.ts';
import { centresOf, scalingsOf, transformOf, type Scaling, type WidthRule } from './scaling.ts';

export interface ChoiceSettings extends LossQuantizers {
  readonly shift: boolean;
}

/** What the search makes of a site. */
export type Choice =
  /** `judgedOn`: how many tokens that the choice was not made on it was judged on; null where nothing was chosen. */
  { readonly kind: 'scaled'; readonly scaling: Scaling; readonly judgedOn: number | null } | Left;

/** The scaling with the least loss on what was captured, if it also lowers the loss on tokens that were held out from the choice. */
export async function chooseScaling(
  graph: Graph,
  t: ScaledSite,
  rule: WidthRule,
  settings: ChoiceSettings,
  captured: Captured,
  ctx: PassContext,
): Promise<Choice> {
  const [seen, heldOut] = [await captured.samplesAt(t), await captured.heldOutAt(t)];
  const places: Place[] = [];
  try {
    for (const centre of centresOf(t, settings.shift)) {
      const scalings = scalingsOf(rule, t, centre);
      if (!scalings) return { kind: 'left', why: rule.unknown, expected: false };
      places.push(await placeAt(graph, t, centre, scalings, settings, [...seen, ...heldOut], ctx));
    }
    const tried: (readonly [Scaling, loss: number, Place])[] = [];
    for (const place of places) {
      const losses = await place.losses(seen, place.scalings);
      place.scalings.forEach((s, k) => tried.push([s, losses[k]!, place]));
    }
    // The first is the site as it is, which equals do not replace.
    const [asItIs, best] = [tried[0]!, tried.reduce((a, b) => (b[1] < a[1] ? b : a))];
    if (best === asItIs) return { kind: 'left', why: 'no scale lowers the error of what it feeds', expected: true };
    const judged = async ([scaling, , place]: (typeof tried)[number]): Promise<number> => (await place.losses(heldOut, [scaling]))[0]!;
    if (heldOut.length > 0 && !((await judged(best)) < (await judged(asItIs))))
      return { kind: 'left', why: 'the scale that lowers the error most does not do so on tokens that were held out', expected: true };
    return { kind: 'scaled', scaling: best[0], judgedOn: tokensIn(heldOut) };
  } finally {
    for (const place of places) await place.close();
  }
}

/** The scalings of a site that is centred at one place, and what measures them. */
interface Place {
  readonly scalings: readonly Scaling[];
  readonly losses: (samples: readonly LossSample[], some: readonly Scaling[]) => Promise<readonly number[]>;
  readonly close: () => Promise<void>;
}

async function placeAt(
  graph: Graph,
  t: ScaledSite,
  centre: Float64Array,
  scalings: readonly Scaling[],
  settings: LossQuantizers,
  samples: readonly LossSample[],
  ctx: PassContext,
): Promise<Place> {
  const loss = await siteLoss(graph, t, centre, settings, samples, ctx);
  return {
    scalings,
    losses: (of, some) =>
      loss.on(of)(
        some.map((s) => ({ width: s.width, ranges: rangesUnder(settings, t.site, movedStatistics(t.statistics, transformOf(s))) })),
      ),
    close: loss.close,
  };
}
