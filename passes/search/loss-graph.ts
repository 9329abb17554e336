import { int } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { translation } from '../../ir/channel.ts';
import { cloneNode } from '../../ir/clone.ts';
import { Graph, type Node, type Value } from '../../ir/graph.ts';
import { DynamicQuantize, FakeQuantize, type Site } from '../../ir/ops/qc.ts';
import { codeRange } from '../../ir/quant.ts';
import { readsOf } from '../../ir/slice.ts';
import { tensorType, type TensorType } from '../../ir/types.ts';
import { shiftProduct } from '../../ir/weights.ts';
import { changedWeight, wholeWeight, type CandidateWeight } from './candidate-weight.ts';
import type { LossRegion } from './loss-region.ts';
import { names, roundsByGroup, type LossActivation, type LossSettings } from './loss-settings.ts';
import { roundedWeight } from './round-weight.ts';

/**
 * A graph that gives, for one sample and K candidates, the sums over tokens and outputs of (f(Q(x~), Q(W~)) - f(x, W))^2, with
 * x~ = (x - z) / s and W~ = s W (methods, section 2.2). The widths s [K, C] are an input; with static quantizers so are scales and zero
 * points of every channel [K, C], and if weights are rounded by group, so is which groups a candidate changes [K, groups]. The losses [K] are
 * the output. A Scan goes through the candidates; f(x, W) and Q(W) are computed once for all.
 */
export function lossGraph(region: LossRegion, site: Site, settings: LossSettings, opsets: ReadonlyMap<string, number>): Graph {
  const graph = new Graph('loss');
  for (const [domain, version] of opsets) graph.opsets.set(domain, version);
  const build = Builder.atEnd(graph);
  const x = graph.addInput(names.x, (region.mixesTokens ? site.x.type : null) ?? tensorType('f32', null));
  const others = new Map(region.others.map((v) => [v, graph.addInput(v.name, v.type)] as const));
  const tokens = settings.masked ? graph.addInput(names.tokens, tensorType('f32', null)) : null;
  const perCandidate = candidateTypes(settings);
  const rows = perCandidate.map(([name, type]) => graph.addInput(name, { ...type, shape: [null, ...type.shape!] }));

  const reference = copyRegion(build, region, new Map([...others, [site.y, x]]), null);
  const centred = build.value('Sub', [x, build.vector('centre', settings.centre)]);
  const body = new Graph('candidate', graph);
  const inside = Builder.atEnd(body);
  const given = new Map(perCandidate.map(([name, type]) => [name, body.addInput(body.freshName(name), type)] as const));
  const width = given.get(names.widths)!;
  const narrowed = inside.value('Div', [centred, width]);
  const [scale, zero] = [given.get(names.scales), given.get(names.zeros)];
  const quantized = settings.activation ? quantizeActivation(inside, narrowed, settings.activation, scale, zero) : narrowed;
  const weightOf = candidateWeight(build, settings, given.get(names.changed));
  // Constants are those of the reference, which the body captures.
  const product = (node: Node): Value | null => {
    const weight = region.linears.find((l) => l.node === node)?.weight;
    if (!weight) return null;
    const bias = inside.constant('bias', shiftProduct(translation(settings.centre), weight.constant!));
    return inside.value('Add', [inside.value('MatMul', [quantized, weightOf(inside, reference.get(weight)!, width)]), bias]);
  };
  const candidate = copyRegion(inside, region, new Map(reference), product);
  const parts = region.results.map((r) => squaredDistance(inside, candidate.get(r)!, reference.get(r)!));
  const perToken = parts.reduce((a, b) => inside.value('Add', [a, b]));
  const counted = tokens ? inside.value('Mul', [perToken, tokens]) : perToken;
  // A Scan stacks only results whose shape is declared.
  body.addOutput(inside.value('ReduceSum', [counted], { keepdims: int(0) }, tensorType('f32', []), 'loss'));
  const attributes = { num_scan_inputs: int(rows.length), body: { kind: 'graph', value: body } } as const;
  graph.addOutput(build.value('Scan', rows, attributes, null, names.losses));
  return graph;
}

/** What a candidate gives to the body. */
function candidateTypes(settings: LossSettings): readonly (readonly [name: string, type: TensorType])[] {
  const { activation, centre, groups } = settings;
  const channels = tensorType('f32', [centre.length]);
  const isStatic = activation !== null && activation.range !== 'token';
  return [
    [names.widths, channels],
    ...(isStatic
      ? ([
          [names.scales, channels],
          [names.zeros, channels],
        ] as const)
      : []),
    ...(roundsByGroup(settings) ? ([[names.changed, tensorType('i64', [groups.length])]] as const) : []),
  ];
}

/** How a candidate rounds weights; what all candidates share is computed where `build` is. */
function candidateWeight(build: Builder, { weights, groups }: LossSettings, changed: Value | undefined): CandidateWeight {
  if (!weights || !changed) return wholeWeight(weights, groups);
  return changedWeight(weights, groups, changed, (weight) => roundedWeight(build, weight, weights, groups));
}

/** A copy of the region's nodes whose values start at `copies`; where `product` gives a value, that stands for what the node makes. */
function copyRegion(
  build: Builder,
  region: LossRegion,
  copies: Map<Value, Value>,
  product: ((node: Node) => Value | null) | null,
): ReadonlyMap<Value, Value> {
  const { graph } = build;
  for (const node of region.nodes) {
    const made = product?.(node);
    if (made) {
      copies.set(node.output, made);
      continue;
    }
    for (const v of readsOf(node)) if (v.constant && !copies.has(v)) copies.set(v, graph.addConstant(graph.freshName(v.name), v.constant));
    const copy = cloneNode(node, graph, copies, '');
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

/** The sum over the last axis of (a - b)^2. */
function squaredDistance(build: Builder, a: Value, b: Value): Value {
  const d = build.value('Sub', [a, b]);
  return build.value('ReduceSum', [build.value('Mul', [d, d]), build.ints('axes', [-1])], { keepdims: int(0) });
}
