import { int } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { fail, type Location } from '../../ir/diagnostics.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import { latest } from '../../ir/latest.ts';
import type { Layout } from '../../ir/layout.ts';
import { FakeQuantize, type Site } from '../../ir/ops/qc.ts';
import { codeRange, groupIndex } from '../../ir/quant.ts';
import type { WeightScheme } from '../../ir/scheme.ts';
import { sites } from '../../ir/site.ts';
import { floats, lazy, type Tensor } from '../../ir/tensor.ts';
import { nameOf } from '../infra/ledger.ts';
import type { PassContext } from '../infra/pass.ts';
import { linearsOf, type Linear } from '../model/linears.ts';
import { layoutAt } from './activation-at.ts';
import { rowGroups } from './scale-groups.ts';
import { firstUnbounded, weightParameters, type WeightGrouping } from './weights.ts';

/** A scale and a zero point for each run of rows and each column, [groups, out] both. */
export interface WeightGrid {
  /** Rows that share a scale. */
  readonly sizes: readonly number[];
  readonly scale: Tensor;
  readonly zero: Tensor;
}

/** Whether the weight of a linear has its quantizer. */
export const isWeightQuantized = ({ node }: Linear): boolean => node.input(1)?.producer?.op === FakeQuantize.schema.op;

/** The linears that read a site. */
export interface LinearsBehind {
  readonly site: Site;
  readonly linears: readonly Linear[];
}

/** Sites and the linears behind each whose weights have no quantizer, where there are any. */
export function unquantizedBehindSites(graph: Graph): readonly LinearsBehind[] {
  const open = linearsOf(graph).filter((l) => !isWeightQuantized(l));
  return sites(graph)
    .map((site) => ({ site, linears: open.filter((l) => l.input === site.y) }))
    .filter(({ linears }) => linears.length > 0);
}

/** How the elements of the weight behind a site share scales. */
export function weightGrouping({ weight }: Linear, site: Site, scheme: WeightScheme, layout: Layout): WeightGrouping {
  const here = layoutAt(site, layout);
  return { sizes: rowGroups(weight.constant!.shape[0]!, site, here), wholeTensor: scheme.per === 'tensor', multiples: here.multiples };
}

/** Scales and zero points are two constants that one look at the weight gives. */
const kept = latest();

/** Round to nearest over the whole range, or over as much of it as `importance` [in], the weight of each row's squared errors, asks for. */
export function nearestGrid(linear: Linear, scheme: WeightScheme, grouping: WeightGrouping, importance?: Float32Array): WeightGrid {
  const columns = linear.weight.constant!.shape[1]!;
  const parameters = kept(() => weightParameters(elementsOf(linear), columns, scheme, grouping, importance));
  const shape = [grouping.sizes.length, columns];
  return {
    sizes: grouping.sizes,
    scale: lazy('f32', shape, () => parameters().scale),
    zero: lazy('f32', shape, () => parameters().zero),
  };
}

/** The elements of a weight; QC4109 if one of them is no number. */
export const elementsOf = ({ node, weight }: Linear): Float32Array => finite(floats(weight.constant!), weight.name, node.loc);

function finite(w: Float32Array, name: string, at: Location): Float32Array {
  const i = firstUnbounded(w);
  return i < 0 ? w : fail('QC4109', `element ${i} of weight %${name} is ${w[i]}`, at);
}

/** Has a linear read `weight` through a quantizer with this grid; `how` says how it was rounded, for the ledger. */
export function quantizeWeight(
  graph: Graph,
  { node }: Linear,
  weight: Value,
  { sizes, scale, zero }: WeightGrid,
  scheme: WeightScheme,
  how: string,
  ctx: PassContext,
): void {
  const bounds = codeRange(scheme.bits, scheme.symmetric);
  const build = Builder.before(node, weight.name);
  const operands = {
    x: weight,
    scale: build.constant('scale', scale),
    zero: build.constant('zero', zero),
    index: build.ints('group', groupIndex(sizes)),
  };
  const attributes = { qmin: int(bounds.min), qmax: int(bounds.max) };
  graph.setInput(node, 1, build.make(FakeQuantize, operands, { attributes, like: weight }).y);
  const groups = sizes.length > 1 ? `, ${sizes.length} row groups` : '';
  ctx.ledger.done('linear', nameOf(node), `weight at ${scheme.bits} bits${groups}${how}`);
  ctx.count('weights');
}
