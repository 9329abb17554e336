import { diagnostic } from '../../../ir/diagnostics.ts';
import { text } from '../../infra/options.ts';
import { definePass } from '../../infra/pass.ts';
import { reductions } from '../../observe/reductions/index.ts';
import { statisticsAt } from '../../observe/statistics.ts';
import { nearestGrid, quantizeWeight, unquantizedBehindSites, weightGrouping } from '../../quantize/quantize-weight.ts';
import { layoutOptions } from '../../quantize/scale-groups.ts';
import { schemeNamed } from '../../quantize/schemes.ts';

/**
 * Gives each weight a quantizer whose codes span the part of the range that loses least at the output if inputs are taken for uncorrelated:
 * the least sum of E[x_i^2] (W_ij - W^_ij)^2 over the rows i that share a scale. Weights are rounded to nearest.
 */
export const clip = definePass({
  name: 'clip',
  summary: 'clip the ranges of weights where that loses least for inputs like those of calibration',
  contract: 'approximate',
  options: {
    scheme: text('scheme that says how weights are quantized', 'w8a8'),
    ...layoutOptions,
  },
  needs: ['sites', 'calibrated', 'folded'],
  observes: [reductions.rms],
  run(graph, ctx, settings) {
    const scheme = schemeNamed(settings.scheme).weights;
    if (!scheme) return;
    for (const { site, linears } of unquantizedBehindSites(graph)) {
      const power = statisticsAt(site)
        ?.get(reductions.rms)
        ?.rms.map((x) => x * x);
      if (!power) {
        ctx.report(diagnostic('QC3201', `no squares at %${site.key}; clip leaves the weights behind it`, site.node.loc));
        continue;
      }
      for (const linear of linears) {
        const grid = nearestGrid(linear, scheme, weightGrouping(linear, site, scheme, settings), power);
        quantizeWeight(graph, linear, linear.weight, grid, scheme, ', clipped', ctx);
      }
    }
  },
});
