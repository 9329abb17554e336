import { int } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { translation } from '../../ir/channel.ts';
import { cloneNode } from '../../ir/clone.ts';
import { Graph, type Value } from '../../ir/graph.ts';
import { DynamicQuantize, FakeQuantize, type Site } from '../../ir/ops/qc.ts';
import { codeRange } from '../../ir/quant.ts';
import { readsOf } from '../../ir/slice.ts';
import { tensorType } from '../../ir/types.ts';
import { shiftProduct } from '../../ir/weights.ts';
import type { Linear } from '../model/linears.ts';
import type { LossRegion } from './loss-region.ts';
import { roundedWeight } from './round-weight.ts';
import type { ActivationScheme, WeightScheme } from '../../ir/scheme.ts';

/** Names of the loss graph's own inputs and of its output. */
export const names = {
  x: 'qc x',
  widths: 'qc widths',
  scales: 'qc scales',
  zeros: 'qc zeros',
  tokens: 'qc tokens',
  losses: 'qc losses',
} as const;

/** The quantizer of the site; `block` is the run of channels that share a scale found at run time, 0 for all. */
export interface LossActivation extends ActivationScheme {
  readonly block: number;
}

export interface LossSettings {
  readonly centre: Float64Array;
  readonly activation: LossActivation | null;
  readonly weights: WeightScheme | null;
  /** Rows of a weight that share a scale. */
  readonly groups: readonly number[];
  /** Whether the tokens that count come as an input. */
  readonly masked: boolean;
}

/**
 * A graph that gives, for one sample and K candidates, the sums over tokens and outputs of (f(Q(x~), Q(W~)) - f(x, W))^2, with
 * x~ = (x - z) / s and W~ = s W (methods, section 2.2). The widths s [K, C] and, for static quantizers, scales and zero points of every
 * channel [K, C] are inputs; the losses [K] are the output. A Scan goes through the candidates, and f(x, W) is computed once for all.
 */
export function lossGraph(region: LossRegion, site: Site, settings: LossSettings, opsets: ReadonlyMap<string, number>): Graph {
  const graph = new Graph('loss');
  for (const [domain, version] of opsets) graph.opsets.set(domain, version);
  const build = Builder.atEnd(graph);
  const channels = settings.centre.length;
  const x = graph.addInput(names.x, (region.mixesTokens ? site.x.type : null) ?? tensorType('f32', null));
  const others = new Map(region.others.map((v) => [v, graph.addInput(v.name, v.type)] as const));
  const tokens = settings.masked ? graph.addInput(names.tokens, tensorType('f32', null)) : null;
  const isStatic = settings.activation !== null && settings.activation.range !== 'token';
  const perCandidate = [names.widths, ...(isStatic ? [names.scales, names.zeros] : [])];
  const rows = perCandidate.map((name) => graph.addInput(name, tensorType('f32', [null, channels])));

  const reference = copyRegion(build, region, new Map([...others, [site.y, x]]), null);
  const centred = build.value('Sub', [x, build.vector('centre', settings.centre)]);
  const body = new Graph('candidate', graph);
  const inside = Builder.atEnd(body);
  const [width, scale, zero] = perCandidate.map((name) => body.addInput(body.freshName(name), tensorType('f32', [channels])));
  const narrowed = inside.value('Div', [centred, width!]);
  const quantized = settings.activation ? quantizeActivation(inside, narrowed, settings.activation, scale, zero) : narrowed;
  const edit = (linear: Linear, copied: Value): { readonly weight: Value; readonly bias: Value } => ({
    weight: weightFor(inside, inside.value('Mul', [copied, column(inside, width!)]), settings),
    bias: inside.constant('bias', shiftProduct(translation(settings.centre), linear.weight.constant!)),
  });
  // Constants are those of the reference, which the body captures.
  const candidate = copyRegion(inside, region, new Map([...reference, [site.y, quantized]]), edit);
  const parts = region.results.map((r) => squaredDistance(inside, candidate.get(r)!, reference.get(r)!));
  const perToken = parts.reduce((a, b) => inside.value('Add', [a, b]));
  const counted = tokens ? inside.value('Mul', [perToken, tokens]) : perToken;
  // A Scan stacks only results whose shape is declared.
  body.addOutput(inside.value('ReduceSum', [counted], { keepdims: int(0) }, tensorType('f32', []), 'loss'));
  const attributes = { num_scan_inputs: int(rows.length), body: { kind: 'graph', value: body } } as const;
  graph.addOutput(build.value('Scan', rows, attributes, null, names.losses));
  return graph;
}

/** A copy of the region's nodes, which reads what `copies` already has for its inputs; `edit` gives each linear another weight, and a bias after its product. */
function copyRegion(
  build: Builder,
  region: LossRegion,
  copies: Map<Value, Value>,
  edit: ((linear: Linear, weight: Value) => { readonly weight: Value; readonly bias: Value }) | null,
): ReadonlyMap<Value, Value> {
  const { graph } = build;
  for (const node of region.nodes) {
    for (const v of readsOf(node)) if (v.constant && !copies.has(v)) copies.set(v, graph.addConstant(graph.freshName(v.name), v.constant));
    const copy = cloneNode(node, graph, copies, '');
    const linear = region.linears.find((l) => l.node === node);
    if (linear && edit) {
      const { weight, bias } = edit(linear, copies.get(linear.weight)!);
      const product = build.value('MatMul', [copies.get(linear.input)!, weight]);
      copies.set(node.output, build.value('Add', [product, bias]));
      for (const use of copy.operands) if (use.value) graph.setInput(copy, use.index, null);
      continue;
    }
    for (const out of copy.outputs) graph.rename(out, graph.freshName(out.name));
    graph.append(copy);
    node.outputs.forEach((o, i) => copies.set(o, copy.outputs[i]!));
  }
  return copies;
}

/** Q(x~): with a scale found at run time, or with scale and zero point of each channel [C]. */
function quantizeActivation(build: Builder, x: Value, spec: LossActivation, scale?: Value, zero?: Value): Value {
  const bounds = codeRange(spec.bits, spec.symmetric);
  const attributes = { qmin: int(bounds.min), qmax: int(bounds.max) };
  if (spec.range === 'token')
    return build.value(DynamicQuantize.schema.op, [x], { ...attributes, symmetric: int(spec.symmetric ? 1 : 0), block: int(spec.block) });
  const channels = Number(scale!.type!.shape![0]);
  const everyChannel = build.ints('every channel', [...Array(channels).keys()]);
  return build.value(FakeQuantize.schema.op, [x, scale!, zero!, everyChannel], attributes);
}

/** Q(s W), or s W where weights stay in float. */
const weightFor = (build: Builder, scaled: Value, { weights, groups }: LossSettings): Value =>
  weights ? roundedWeight(build, scaled, weights, groups) : scaled;

/** [n] as [n, 1]. */
const column = (build: Builder, v: Value): Value => build.value('Unsqueeze', [v, build.ints('axes', [1])]);

/** The sum over the last axis of (a - b)^2. */
function squaredDistance(build: Builder, a: Value, b: Value): Value {
  const d = build.value('Sub', [a, b]);
  return build.value('ReduceSum', [build.value('Mul', [d, d]), build.ints('axes', [-1])], { keepdims: int(0) });
}
