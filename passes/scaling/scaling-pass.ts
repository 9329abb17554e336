import { diagnostic, fail } from '../../ir/diagnostics.ts';
import type { Graph } from '../../ir/graph.ts';
import type { SiteTrait } from '../../ir/layout.ts';
import { inferTypes } from '../../ir/shapes/infer.ts';
import { changeBasis } from '../../ir/site.ts';
import { nameOf } from '../infra/ledger.ts';
import { flag, float, text } from '../infra/options.ts';
import { definePass, type Pass, type PassContext } from '../infra/pass.ts';
import { reductions } from '../observe/reductions/index.ts';
import { layoutOptions } from '../quantize/scale-groups.ts';
import { capture, captureOptions, type CaptureSettings } from '../search/capture.ts';
import { chooseScaling, type Choice, type ChoiceSettings } from './choose.ts';
import { scaledSites, type Left, type RefusedSite, type ScaledSite } from './scaled-site.ts';
import { centresOf, scaledBy, transformOf, type WidthRule } from './scaling.ts';

/** A method that divides the channels of sites by the widths of a rule. */
export interface ScalingMethod extends WidthRule {
  readonly name: string;
  readonly summary: string;
  /** Whether channels are centred first, unless the option says otherwise. */
  readonly shift: boolean;
  /** What the widths do to the ranges of channels, for the layout of targets. */
  readonly traits: readonly SiteTrait[];
}

interface Settings extends ChoiceSettings, CaptureSettings {
  readonly alpha: number | null;
}

/** The pass of a method. */
export const scalingPass = (method: ScalingMethod): Pass =>
  definePass({
    name: method.name,
    summary: method.summary,
    contract: 'exact',
    options: {
      scheme: text('scheme whose quantizers the search uses', 'w8a8'),
      alpha: float('exponent of every site; given, nothing is searched', null, 0),
      shift: flag('centre the channels where the site takes it', method.shift),
      ...captureOptions,
      ...layoutOptions,
    },
    needs: ['calibrated', 'folded'],
    breaks: ['folded'],
    observes: [reductions.range, reductions.average, ...method.observes],
    traits: method.traits,
    run: (graph, ctx, settings) => scaleSites(graph, method, { ...settings, judged: true }, ctx),
  });

async function scaleSites(graph: Graph, method: ScalingMethod, settings: Settings, ctx: PassContext): Promise<void> {
  inferTypes(graph);
  const { scaled: found, refused } = scaledSites(graph);
  for (const t of refused) leave(t, t, method, ctx);
  if (found.length === 0) return;
  if (settings.alpha !== null) {
    for (const t of found) transform(graph, t, givenScaling(t, method, settings.alpha, settings), method, ctx);
    return;
  }
  if (!ctx.services.samples?.length) {
    fail('QC2101', `the search of ${method.name} measures its loss on samples, and there are none`, undefined, {
      hint: `give samples with --calib, or an exponent: ${method.name}{alpha=0.5}`,
    });
  }
  const spool = ctx.services.spool();
  try {
    const captured = await capture(graph, found, settings, spool, ctx);
    for (const [done, t] of found.entries()) {
      transform(graph, t, await chooseScaling(graph, t, method, settings, captured, ctx), method, ctx);
      ctx.progress(done + 1, found.length, 'sites');
    }
  } finally {
    await spool.close();
  }
}

/** The scaling by an exponent that the user gave, centred where the site takes a shift. */
function givenScaling(t: ScaledSite, method: ScalingMethod, alpha: number, { shift }: Settings): Choice {
  const found = scaledBy(method, t, centresOf(t, shift).at(-1)!, [alpha]);
  return found ? { kind: 'scaled', scaling: found[0]!, judgedOn: null } : { kind: 'left', why: method.unknown, expected: false };
}

function transform(graph: Graph, t: ScaledSite, choice: Choice, method: ScalingMethod, ctx: PassContext): void {
  if (choice.kind === 'left') return leave(t, choice, method, ctx);
  const { alpha, centre } = choice.scaling;
  changeBasis(graph, t.site, transformOf(choice.scaling));
  const parts = [...(centre.some((z) => z !== 0) ? ['centred'] : []), ...(alpha === null ? [] : [`scaled with alpha ${alpha}`])];
  const unjudged = choice.judgedOn === 0 ? ', on the only sample: nothing was held out to judge it' : '';
  for (const { node } of t.region.linears)
    ctx.ledger.done('linear', nameOf(node), `input ${parts.join(' and ')} by ${method.name}${unjudged}`);
  ctx.count('sites');
  if (alpha !== null) ctx.count('sites scaled');
}

/** Enters why a site stays as it is, for every linear that reads it. */
function leave({ site, region }: SiteAndRegion, { why, expected }: Left, { name }: ScalingMethod, ctx: PassContext): void {
  if (!expected) ctx.report(diagnostic('QC3201', `%${site.key} is not scaled by ${name}: ${why}`, site.node.loc));
  for (const { node } of region.linears)
    ctx.ledger.left('linear', nameOf(node), `input not scaled by ${name}: ${why}`, { intended: expected });
  ctx.count('sites left');
}

type SiteAndRegion = Pick<RefusedSite, 'site' | 'region'>;
