import { diagnostic, type Diagnostic } from '../../../ir/diagnostics.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { eraseDead } from '../../../ir/rewrite.ts';
import { inferTypes } from '../../../ir/shapes/infer.ts';
import { tensorType, type TensorType } from '../../../ir/types.ts';
import { convertNode } from './convert-node.ts';
import { giveBack } from './bodies.ts';
import { floatOf, Conversion } from './conversion.ts';

/**
 * Turns a lowered graph's floats into f16, as models are deployed on GPUs: weights, norms, products and the residual stream between them.
 * The cast policy is in `policy.ts`: Softmax, exponentials, powers, sums and means stay in f32 with Casts around them, and so do
 * positions, masks and rotary angles until they meet an activation (`precision.ts`). Constants beyond f16 stay f32 (QC4003), and so do
 * the bodies of If, Loop and Scan (QC4004). Float inputs are cut to what f16 holds. The caller gets results of the types that they had:
 * `outputs`, where they were known before lowering. What is f16 already stays as it is, and so does what such a model computes in f32
 * between Casts of its own.
 */
export function toHalf(graph: Graph, outputs: readonly (TensorType | null)[]): readonly Diagnostic[] {
  inferTypes(graph);
  const wanted = graph.outputs.map((v, i) => outputs[i] ?? v.type);
  const conversion = new Conversion(graph);
  const found: Diagnostic[] = [];
  for (const node of [...graph.nodes]) {
    if (node.bodies.length > 0) found.push(bodiesStay(node));
    convertNode(conversion, node);
  }
  giveBack(conversion);
  wanted.forEach((type, i) => keepOutput(conversion, i, type));
  eraseDead(graph);
  conversion.counterparts.tidy();
  return [...found, ...conversion.unrepresentable.map(constantStays)];
}

const bodiesStay = (node: Node): Diagnostic =>
  diagnostic('QC4004', `what ${node.op} computes inside stays in f32: graphs inside a graph are not converted`, node.loc);

const constantStays = ({ value, reader }: { readonly value: Value; readonly reader: Node }): Diagnostic =>
  diagnostic('QC4003', `%${value.name} has elements beyond 65504: it stays in f32, and so does ${reader.op}, which reads it`, reader.loc);

/** The caller gets the element type that the graph had, under the name that it knows. */
function keepOutput({ graph, counterparts }: Conversion, index: number, type: TensorType | null): void {
  const value = graph.outputs[index]!;
  const dtype = floatOf(type);
  if (dtype === null || floatOf(value.type) === null || value.type!.dtype === dtype) return;
  const shown = counterparts.as(value, dtype);
  graph.setType(shown, tensorType(dtype, type!.shape));
  graph.replaceOutput(value, shown);
}
