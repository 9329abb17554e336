import { diagnostic } from '../../../ir/diagnostics.ts';
import type { Graph } from '../../../ir/graph.ts';
import type { Layout } from '../../../ir/layout.ts';
import type { Site } from '../../../ir/ops/qc.ts';
import { codeRange } from '../../../ir/quant.ts';
import { eraseDead } from '../../../ir/rewrite.ts';
import type { WeightScheme } from '../../../ir/scheme.ts';
import { dense } from '../../../ir/tensor.ts';
import { addBias, biasBehind, constantLike } from '../../../ir/weights.ts';
import { choice, flag, float, text } from '../../infra/options.ts';
import { definePass, type PassContext } from '../../infra/pass.ts';
import type { Linear } from '../../model/linears.ts';
import { reductions } from '../../observe/reductions/index.ts';
import { statisticsAt } from '../../observe/statistics.ts';
import { elementsOf, quantizeWeight, unquantizedBehindSites, weightGrouping, type LinearsBehind } from '../../quantize/quantize-weight.ts';
import { layoutOptions } from '../../quantize/scale-groups.ts';
import { schemeNamed } from '../../quantize/schemes.ts';
import { largestOfColumns, weightParameters } from '../../quantize/weights.ts';
import { hessianOf, type Hessian, type HessianSettings } from './hessian.ts';
import { openProducts, type Products } from './products.ts';
import { roundByHessian, type Rounded } from './round.ts';

interface Settings extends Layout, HessianSettings {
  readonly clip: boolean;
}

/**
 * GPTQ (Frantar et al. 2022): rounds the weights behind each site one row after another, so that later rows make up for what the rounding of
 * earlier ones does to the output on the calibration data. Every weight gets its quantizer here; `quantize` leaves it as it is.
 */
export const gptq = definePass({
  name: 'gptq',
  summary: 'round weights by the Hessian of their inputs (GPTQ), each with its quantizer',
  contract: 'approximate',
  options: {
    scheme: text('scheme that says how weights are quantized', 'w8a8'),
    damping: float("what is added to the Hessian's diagonal, as a part of its mean", 0.01, 0),
    order: choice(
      'rows whose inputs vary most are rounded first (variance), or rows as they come (given)',
      ['variance', 'given'],
      'variance',
    ),
    clip: flag("search how much of a weight's range the codes span, by squared errors times the Hessian's diagonal", true),
    ...layoutOptions,
  },
  needs: ['sites', 'calibrated', 'folded'],
  observes: [reductions.gram],
  async run(graph, ctx, settings) {
    const scheme = schemeNamed(settings.scheme).weights;
    const found = scheme ? unquantizedBehindSites(graph) : [];
    if (!scheme || found.length === 0) return;
    const products = await openProducts(ctx.services.executor, graph.opsets);
    try {
      for (const [done, behind] of found.entries()) {
        await roundAt(graph, behind, { scheme, settings, products }, ctx);
        ctx.progress(done + 1, found.length, 'sites');
      }
    } finally {
      await products.close();
    }
    eraseDead(graph);
  },
});

interface How {
  readonly scheme: WeightScheme;
  readonly settings: Settings;
  readonly products: Products;
}

/** Rounds the weights behind one site by one Hessian. Linears that share a weight here share what becomes of it; elsewhere each has its own. */
async function roundAt(graph: Graph, { site, linears }: LinearsBehind, how: How, ctx: PassContext): Promise<void> {
  const gram = statisticsAt(site)?.get(reductions.gram);
  if (!gram) {
    ctx.report(diagnostic('QC3201', `no Hessian at %${site.key}; gptq leaves the weights behind it`, site.node.loc));
    return;
  }
  const hessian = await hessianOf(gram, how.settings, how.products, site.key);
  for (const weight of new Set(linears.map((l) => l.weight))) {
    ctx.signal.throwIfAborted();
    const readers = linears.filter((l) => l.weight === weight);
    await roundWeight(graph, readers, site, hessian, how, ctx);
  }
}

async function roundWeight(
  graph: Graph,
  linears: readonly Linear[],
  site: Site,
  hessian: Hessian,
  how: How,
  ctx: PassContext,
): Promise<void> {
  const { scheme, settings, products } = how;
  const linear = linears[0]!;
  const [weight, shape] = [elementsOf(linear), linear.weight.constant!.shape];
  const columns = shape[1]!;
  const grouping = weightGrouping(linear, site, scheme, settings);
  const { scale, zero } = weightParameters(weight, columns, scheme, grouping, settings.clip ? hessian.variance : null);
  const bounds = codeRange(scheme.bits, scheme.symmetric);
  const rounded = await roundByHessian(
    {
      weight,
      columns,
      sizes: grouping.sizes,
      scale,
      zero,
      qmin: bounds.min,
      qmax: bounds.max,
      // Multiples of a unit fit 8 bits as far as the largest weight of the column goes.
      limit: grouping.multiples ? largestOfColumns(weight, columns) : null,
    },
    hessian,
    products,
  );
  const table = (data: Float32Array) => dense([grouping.sizes.length, columns], data);
  const made = constantLike(graph, linear.weight, ctx.services.store(dense(shape, rounded.weight)));
  const grid = { sizes: grouping.sizes, scale: table(scale), zero: table(zero) };
  for (const each of linears) {
    quantizeWeight(graph, each, made, grid, scheme, ', rounded by gptq', ctx);
    correctMean(each, rounded, ctx);
  }
}

/** A bias is added where there is none if the mean error would be more than this part of the rest. */
const worthABias = 0.01;

/** Adds m (W - W^) behind a product. */
function correctMean({ node, weight }: Linear, { bias, error }: Rounded, ctx: PassContext): void {
  const power = bias.reduce((sum, b) => sum + b * b, 0);
  const pays = biasBehind(node.output, bias.length) ? power > 0 : power > worthABias * error;
  if (!pays) return;
  addBias(node.output, dense([bias.length], bias), `${weight.name}.bias`);
  ctx.count('biases');
}
