import { string } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { cloneGraph } from '../../ir/clone.ts';
import type { Graph, Node, Value } from '../../ir/graph.ts';
import { DynamicQuantize, FakeQuantize, Observer } from '../../ir/ops/qc.ts';
import type { PassContext, Samples } from '../infra/pass.ts';
import { linearsOf } from '../model/linears.ts';
import { collect, type Observed } from '../observe/calibrate.ts';
import { reductions } from '../observe/reductions/index.ts';

/** The means of the input of a linear over tokens, [channels] each, in float and as the linear reads it. */
export interface InputMeans {
  readonly tokens: number;
  readonly float: Float32Array;
  readonly quantized: Float32Array;
}

const quantizers: ReadonlySet<string> = new Set([FakeQuantize.schema.op, DynamicQuantize.schema.op]);

const isQuantizer = (node: Node | null): node is Node => node !== null && quantizers.has(node.op);

/** The means at the inputs of all linears, by the name of the input, when the model that a graph quantizes runs in float. */
export async function inputMeans(graph: Graph, samples: Samples, ctx: PassContext): Promise<ReadonlyMap<string, InputMeans>> {
  const float = cloneGraph(graph);
  const inputs = [...new Set(linearsOf(float).map((l) => l.input))];
  const keys = inputs.map((input) => [input.name, observeBoth(float, input)] as const);
  for (const node of [...float.nodes].filter(isQuantizer)) bypass(float, node);
  const services = { ...ctx.services, samples };
  const seen = await collect(float, { ...ctx, services, observes: [reductions.mean] });
  return new Map(keys.flatMap(([name, { float: before, quantized }]) => meansOf(name, seen.get(before), seen.get(quantized))));
}

/** Observes what a linear reads and, in front of its quantizer, what it would read in float; gives the keys of both. */
function observeBoth(graph: Graph, input: Value): { readonly float: string; readonly quantized: string } {
  const quantized = observe(graph, input, `${input.name} as read`);
  const quantizer = input.producer;
  return { quantized, float: isQuantizer(quantizer) ? observe(graph, quantizer.input(0)!, `${input.name} in float`) : quantized };
}

function observe(graph: Graph, x: Value, key: string): string {
  Builder.behind(graph, x).make(Observer, { x }, { attributes: { key: string(key) }, like: x });
  return key;
}

/** Has everything but observers read what a quantizer reads. */
function bypass(graph: Graph, quantizer: Node): void {
  const [x, y] = [quantizer.input(0)!, quantizer.output];
  for (const use of [...y.uses]) if (use.node.op !== Observer.schema.op) graph.setInput(use.node, use.index, x);
  if (graph.outputs.includes(y)) graph.replaceOutput(y, x);
}

function meansOf(name: string, before: Observed | undefined, after: Observed | undefined): readonly (readonly [string, InputMeans])[] {
  const [float, quantized] = [before, after].map((seen) => seen && reductions.mean.read(seen));
  const tokens = before?.get('tokens');
  if (!float || !quantized || tokens?.kind !== 'int') return [];
  return [[name, { tokens: Number(tokens.value), float, quantized }]];
}
