import { Builder } from '../../ir/builder.ts';
import { cloneNode } from '../../ir/clone.ts';
import { diagnostic } from '../../ir/diagnostics.ts';
import { Graph, type Value } from '../../ir/graph.ts';
import { DynamicQuantize, FakeQuantize } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { dense } from '../../ir/tensor.ts';
import { tensorType } from '../../ir/types.ts';
import { addBias } from '../../ir/weights.ts';
import { runOnce, type HostTensor } from '../infra/executor.ts';
import { nameOf } from '../infra/ledger.ts';
import { definePass, type PassContext } from '../infra/pass.ts';
import { linearsOf, type Linear } from '../model/linears.ts';
import { halves } from './halves.ts';
import { inputMeans, type InputMeans } from './input-means.ts';

/**
 * Adds to the bias of each quantized linear what quantization takes from the mean of its result, b += E[x W - Q(x) Q(W)] (Nagel et al. 2019,
 * section 4.2, with the mean over samples). Each half of the samples judges what the other gives: where the mean squared error of the result
 * would not fall, the bias stays as it is.
 */
export const biasCorrect = definePass({
  name: 'bias-correct',
  summary: 'add to biases the mean of what quantization takes from the results of linears',
  contract: 'approximate',
  needs: ['quantized'],
  gives: ['bias-corrected'],
  async run(graph, ctx) {
    const linears = linearsOf(graph).filter(isQuantized);
    const { samples } = ctx.services;
    if (linears.length === 0) return;
    if (!samples || samples.length < 2) return ctx.report(diagnostic('QC3202', 'there are fewer than two samples to correct biases on'));
    const means: ReadonlyMap<string, InputMeans>[] = [];
    for (const half of halves(samples)) means.push(await inputMeans(graph, half, ctx));
    for (const [done, linear] of linears.entries()) {
      await correct(
        linear,
        means.flatMap((of) => of.get(linear.input.name) ?? []),
        ctx,
      );
      ctx.progress(done + 1, linears.length, 'linears');
    }
  },
});

const isQuantized = ({ node }: Linear): boolean =>
  node.input(0)!.producer?.op === FakeQuantize.schema.op ||
  node.input(0)!.producer?.op === DynamicQuantize.schema.op ||
  node.input(1)!.producer?.op === FakeQuantize.schema.op;

async function correct(linear: Linear, means: readonly InputMeans[], ctx: PassContext): Promise<void> {
  const [a, b] = means;
  // A half of padding alone has no mean.
  if (!a || !b) return;
  const [ofA, ofB] = await lost(linear, [a, b], ctx);
  if (!generalises(ofA!, ofB!)) return ctx.count('left, because the halves of the samples differ');
  const share = a.tokens / (a.tokens + b.tokens);
  const delta = ofA!.map((x, j) => share * x + (1 - share) * ofB![j]!);
  addBias(linear.node.output, dense([delta.length], delta), `${nameOf(linear.node)}.correction`);
  ctx.ledger.done('linear', nameOf(linear.node), 'bias corrected');
  ctx.count('biases');
}

/** E[x] W - E[Q(x)] Q(W) for each of several means, [out] each. */
async function lost(linear: Linear, means: readonly InputMeans[], ctx: PassContext): Promise<readonly Float32Array[]> {
  const graph = new Graph('means');
  for (const [domain, version] of linear.node.graph!.opsets) graph.opsets.set(domain, version);
  const build = Builder.atEnd(graph);
  const [rows, columns] = linear.weight.constant!.shape as [number, number];
  const weight = build.constant('weight', linear.weight.constant!);
  const given = (name: string): Value => graph.addInput(name, tensorType('f32', [means.length, rows]));
  const [float, quantized] = [
    product(graph, linear, given('float'), weight),
    product(graph, linear, given('quantized'), asRead(build, linear, weight)),
  ];
  graph.addOutput(build.value('Sub', [float, quantized], {}, tensorType('f32', [means.length, columns]), 'lost'));
  const feeds = { float: stacked(means.map((m) => m.float)), quantized: stacked(means.map((m) => m.quantized)) };
  const all = (await runOnce(ctx.services.executor, graph, feeds))['lost']!.data as Float32Array;
  return means.map((_, k) => all.subarray(k * columns, (k + 1) * columns));
}

/** A copy of a linear that multiplies other values. */
function product(graph: Graph, { node }: Linear, x: Value, weight: Value): Value {
  const copies = new Map([
    [node.input(0)!, x],
    [node.input(1)!, weight],
  ]);
  const { output } = graph.append(cloneNode(node, graph, copies, ''));
  graph.rename(output, graph.freshName('product'));
  graph.setType(output, null);
  return output;
}

/** The weight `w` of a linear as the linear reads it. */
function asRead(build: Builder, { node }: Linear, w: Value): Value {
  const quantizer = viewAs(FakeQuantize, node.input(1)!.producer);
  if (!quantizer) return w;
  const copy = (v: Value): Value => build.constant(v.name, v.constant!);
  const { scale, zero, index } = quantizer;
  const attributes = Object.fromEntries(quantizer.node.attributes);
  return build.make(FakeQuantize, { x: w, scale: copy(scale), zero: copy(zero), index: copy(index) }, { attributes, like: w }).y;
}

function stacked(vectors: readonly Float32Array[]): HostTensor {
  const [width] = vectors.map((v) => v.length) as [number];
  return { dtype: 'f32', shape: [vectors.length, width], data: Float32Array.from(vectors.flatMap((v) => [...v])) };
}

/**
 * Whether the mean of one half lowers the error on the other: with d = y - Q(y) there, E|d - c|^2 = E|d|^2 - 2 c E[d] + |c|^2. Both ways
 * together, so that the halves count alike.
 */
function generalises(a: Float32Array, b: Float32Array): boolean {
  const dot = (u: Float32Array, v: Float32Array): number => u.reduce((sum, x, j) => sum + x * v[j]!, 0);
  return 4 * dot(a, b) > dot(a, a) + dot(b, b);
}
