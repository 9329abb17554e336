import { int, ints, type Attributes } from '../../ir/attributes.ts';
import { translation } from '../../ir/channel.ts';
import { cloneNode } from '../../ir/clone.ts';
import { Graph, Node, type Value } from '../../ir/graph.ts';
import { DynamicQuantize, FakeQuantize, type Site } from '../../ir/ops/qc.ts';
import { codeRange } from '../../ir/quant.ts';
import { readsOf } from '../../ir/slice.ts';
import { dense, int64s } from '../../ir/tensor.ts';
import { tensorType } from '../../ir/types.ts';
import { shiftProduct } from '../../ir/weights.ts';
import { attentionFed, linearsOf, type Linear } from '../linears.ts';
import type { ActivationScheme, WeightScheme } from '../../ir/scheme.ts';

/** What the loss of a site is measured on: its linears, what follows them, and the values that are compared. */
export interface LossRegion {
  readonly linears: readonly Linear[];
  readonly nodes: readonly Node[];
  readonly results: readonly Value[];
  /** What the region reads beside the site and constants: the attention mask. */
  readonly others: readonly Value[];
}

/** The attention's result when the site's linears are its query, key and value; the products themselves otherwise. */
export function lossRegion(graph: Graph, site: Site): LossRegion {
  const linears = linearsOf(graph).filter((l) => l.input === site.y);
  const fed = linears.map((l) => attentionFed(l.node.output));
  const attention = fed[0] ?? null;
  const whole = attention !== null && linears.length === 3 && fed.every((a) => a === attention);
  const results = whole ? [attention.output] : linears.map((l) => l.node.output);
  const nodes = between(graph, linears, whole ? attention : null);
  const made = new Set(nodes.flatMap((n) => n.outputs));
  const others = new Set(nodes.flatMap(readsOf).filter((v) => v !== site.y && !v.constant && !made.has(v)));
  return { linears, nodes, results, others: [...others] };
}

/** The linears and, up to the attention, what stands between them and it; in the order of the graph. */
function between(graph: Graph, linears: readonly Linear[], attention: Node | null): readonly Node[] {
  const inside = new Set(linears.map((l) => l.node));
  if (attention) for (const { node } of linears) for (let n = node; n !== attention; n = n.output.soleUse!.node) inside.add(n);
  if (attention) inside.add(attention);
  return [...graph.nodes].filter((n) => inside.has(n));
}

/** Names of the loss graph's own inputs and of its output. */
export const names = { x: 'qc x', width: 'qc width', scale: 'qc scale', zero: 'qc zero', tokens: 'qc tokens', loss: 'qc loss' } as const;

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
 * A graph that gives, for one sample, the sum over tokens and outputs of (f(Q(x~), Q(W~)) - f(x, W))^2, with x~ = (x - z) / s and
 * W~ = s W (methods, section 2.2). The widths s and, for static quantizers, scale and zero point of every channel are inputs.
 */
export function lossGraph(region: LossRegion, site: Site, settings: LossSettings, opsets: ReadonlyMap<string, number>): Graph {
  const graph = new Graph('loss');
  for (const [domain, version] of opsets) graph.opsets.set(domain, version);
  const build = new Builder(graph);
  const channels = settings.centre.length;
  const x = graph.addInput(names.x, site.x.type ?? tensorType('f32', null));
  const width = graph.addInput(names.width, tensorType('f32', [channels]));
  const others = new Map(region.others.map((v) => [v, graph.addInput(v.name, v.type)] as const));

  const reference = copyRegion(build, region, new Map([...others, [site.y, x]]), null);
  const centre = build.vector('centre', settings.centre);
  const narrowed = build.node('Div', [build.node('Sub', [x, centre]), width]);
  const quantized = settings.activation ? quantizeActivation(build, narrowed, settings.activation, channels) : narrowed;
  const edit = (linear: Linear, copied: Value): { readonly weight: Value; readonly bias: Value } => ({
    weight: settings.weights
      ? quantizeWeight(build, copied, width, settings.weights, settings.groups)
      : build.node('Mul', [copied, build.column(width)]),
    bias: graph.addConstant(graph.freshName('bias'), shiftProduct(translation(settings.centre), linear.weight.constant!)),
  });
  const candidate = copyRegion(build, region, new Map([...others, [site.y, quantized]]), edit);

  const parts = region.results.map((r) => build.squaredDistance(candidate.get(r)!, reference.get(r)!));
  const perToken = parts.reduce((a, b) => build.node('Add', [a, b]));
  const counted = settings.masked ? build.node('Mul', [perToken, graph.addInput(names.tokens, tensorType('f32', null))]) : perToken;
  graph.addOutput(build.node('ReduceSum', [counted], { keepdims: int(0) }, names.loss));
  return graph;
}

/** A copy of the region's nodes whose values start at `twin`; `edit` gives each linear another weight, and a bias after its product. */
function copyRegion(
  build: Builder,
  region: LossRegion,
  twin: Map<Value, Value>,
  edit: ((linear: Linear, weight: Value) => { readonly weight: Value; readonly bias: Value }) | null,
): ReadonlyMap<Value, Value> {
  const { graph } = build;
  for (const node of region.nodes) {
    for (const v of readsOf(node)) if (v.constant && !twin.has(v)) twin.set(v, graph.addConstant(graph.freshName(v.name), v.constant));
    const copy = cloneNode(node, graph, twin, '');
    const linear = region.linears.find((l) => l.node === node);
    if (linear && edit) {
      const { weight, bias } = edit(linear, twin.get(linear.weight)!);
      const product = build.node('MatMul', [twin.get(linear.input)!, weight]);
      twin.set(node.output, build.node('Add', [product, bias]));
      for (const use of copy.operands) if (use.value) graph.setInput(copy, use.index, null);
      continue;
    }
    for (const out of copy.outputs) graph.rename(out, graph.freshName(out.name));
    graph.append(copy);
    node.outputs.forEach((o, i) => twin.set(o, copy.outputs[i]!));
  }
  return twin;
}

function quantizeActivation(build: Builder, x: Value, spec: LossActivation, channels: number): Value {
  const bounds = codeRange(spec.bits, spec.symmetric);
  const attributes = { qmin: int(bounds.min), qmax: int(bounds.max) };
  if (spec.range === 'token')
    return build.node(DynamicQuantize.schema.op, [x], { ...attributes, symmetric: int(spec.symmetric ? 1 : 0), block: int(spec.block) });
  const input = (name: string) => build.graph.addInput(name, tensorType('f32', [channels]));
  const index = build.graph.addConstant(
    'every channel',
    int64s(
      [channels],
      Array.from({ length: channels }, (_, i) => i),
    ),
  );
  return build.node(FakeQuantize.schema.op, [x, input(names.scale), input(names.zero), index], attributes);
}

/** Q(s W), round to nearest, one scale for each output channel and run of rows, or one for all, found in the graph. */
function quantizeWeight(build: Builder, weight: Value, width: Value, spec: WeightScheme, groups: readonly number[]): Value {
  const bounds = codeRange(spec.bits, spec.symmetric);
  const attributes = { qmin: int(bounds.min), qmax: int(bounds.max), symmetric: int(spec.symmetric ? 1 : 0) };
  const scaled = build.node('Mul', [weight, build.column(width)]);
  if (spec.per === 'tensor') {
    const row = build.node(DynamicQuantize.schema.op, [build.node('Reshape', [scaled, build.axes(1, -1)])], attributes);
    return build.node('Reshape', [row, build.node('Shape', [scaled])]);
  }
  const turned = build.node('Transpose', [scaled], { perm: ints([1, 0]) });
  const parts = groups.length === 1 ? [turned] : build.split(turned, groups);
  const quantized = parts.map((p) => build.node(DynamicQuantize.schema.op, [p], attributes));
  const joined = quantized.length === 1 ? quantized[0]! : build.node('Concat', quantized, { axis: int(1) });
  return build.node('Transpose', [joined], { perm: ints([1, 0]) });
}

class Builder {
  readonly graph: Graph;
  constructor(graph: Graph) {
    this.graph = graph;
  }
  node(op: string, inputs: readonly (Value | null)[], attributes: Attributes = {}, name?: string): Value {
    return this.graph.append(new Node({ op, inputs, attributes, results: [{ name: name ?? this.graph.freshName(op), type: null }] }))
      .output;
  }
  vector(name: string, data: ArrayLike<number>): Value {
    return this.graph.addConstant(this.graph.freshName(name), dense([data.length], data));
  }
  axes(...values: number[]): Value {
    return this.graph.addConstant(this.graph.freshName('axes'), int64s([values.length], values));
  }
  /** [n] as [n, 1]. */
  column(v: Value): Value {
    return this.node('Unsqueeze', [v, this.axes(1)]);
  }
  split(v: Value, sizes: readonly number[]): readonly Value[] {
    const results = sizes.map((_, i) => ({ name: this.graph.freshName(`part ${i} of ${v.name}`), type: null }));
    return this.graph.append(new Node({ op: 'Split', inputs: [v, this.axes(...sizes)], attributes: { axis: int(1) }, results })).outputs;
  }
  /** The sum over the last axis of (a - b)^2. */
  squaredDistance(a: Value, b: Value): Value {
    const d = this.node('Sub', [a, b]);
    return this.node('ReduceSum', [this.node('Mul', [d, d]), this.axes(-1)], { keepdims: int(0) });
  }
}
