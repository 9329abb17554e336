import { float } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import { isChannelVector } from '../../../ir/constants.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { Add, LayerNormalization, RMSNormalization } from '../../../ir/ops/generated.ts';
import { SkipLayerNormalization, SkipSimplifiedLayerNormalization } from '../../../ir/ops/microsoft.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import { isRead } from '../../../ir/pattern.ts';
import { sameShape } from '../../../ir/shapes/dims.ts';
import { dtypes } from '../../../ir/types.ts';
import { forEachOf } from '../nodes.ts';

type Norm = LayerNormalization | RMSNormalization;

/** The norm of the sum of two values = one operator, which gives the sum too where that is read elsewhere. */
export function lowerToSkipNorms(graph: Graph): void {
  forEachOf(graph, [LayerNormalization.schema.op, RMSNormalization.schema.op], (node) => {
    const norm: Norm = viewAs(LayerNormalization, node) ?? new RMSNormalization(node);
    const sum = plainSum(norm);
    if (sum) lower(graph, norm, sum);
  });
}

/** What a norm of the last axis is taken of, if it is a sum [batch, seq, C] of two values. */
function plainSum(norm: Norm): Add | null {
  const sum = viewAs(Add, norm.x.producer);
  const shape = norm.x.type?.shape;
  const last = norm.axis === -1 || norm.axis === 2;
  const single = dtypes[norm.stash_type - 1] === 'f32' && !norm.node.outputs.slice(1).some(isRead);
  const channels = shape?.at(-1);
  if (!sum || shape?.length !== 3 || typeof channels !== 'number' || !last || !single) return null;
  const vectors = norm.node.operands.slice(1).every(({ value }) => value === null || isChannelVector(value, channels));
  const whole = [sum.a, sum.b].every((v) => v.constant === null && sameShape(v.type?.shape, shape));
  return vectors && whole ? sum : null;
}

function lower(graph: Graph, norm: Norm, sum: Add): void {
  const [input, skip, bias] = withoutBias(sum);
  const layer = viewAs(LayerNormalization, norm.node);
  const read = norm.x.uses.size > 1 || graph.outputs.includes(norm.x);
  const result = ({ name, type }: Value) => ({ name: graph.freshName(name), type });
  const omitted = { name: '', type: null };
  const made: Node = Builder.before(sum.node).insert({
    op: (layer ? SkipLayerNormalization : SkipSimplifiedLayerNormalization).schema.op,
    inputs: [input, skip, norm.scale, ...(layer ? [layer.b] : []), ...(bias ? [bias] : [])],
    attributes: { epsilon: float(norm.epsilon) },
    results: [result(norm.y), ...(read ? [omitted, omitted, result(norm.x)] : [])],
    name: norm.node.name,
  });
  graph.replace(norm.y, made.outputs[0]!);
  graph.erase(norm.node);
  if (read) graph.replace(sum.c, made.outputs[3]!);
}

/** The operands of a sum, and the bias that one of them ends with. */
function withoutBias({ a, b }: Add): readonly [Value, Value, Value | null] {
  const biased = [a, b].map((v) => viewAs(Add, v.uses.size === 1 ? v.producer : null)).find((add) => add && isChannelVector(add.b));
  if (!biased) return [a, b, null];
  return biased.c === a ? [biased.a, b, biased.b] : [a, biased.a, biased.b];
}
