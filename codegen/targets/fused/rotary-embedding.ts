import { int } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import type { Graph, Value } from '../../../ir/graph.ts';
import { RotaryEmbedding as OnnxRotaryEmbedding } from '../../../ir/ops/generated.ts';
import { RotaryEmbedding } from '../../../ir/ops/microsoft.ts';
import { SharedBuilder } from '../../../ir/shared.ts';
import { tensorType } from '../../../ir/types.ts';
import { forEachOf } from '../nodes.ts';
import { narrowTable } from '../standard/rotary-embedding.ts';

/** Rotations by positions, or by tables that are the same for all sequences, become ONNX Runtime's operator, which every opset may have. */
export function lowerToRotaryEmbeddings(graph: Graph): void {
  forEachOf(graph, [OnnxRotaryEmbedding.schema.op], (node) => {
    const view = new OnnxRotaryEmbedding(node);
    const make = new SharedBuilder(Builder.before(node));
    const heads = headsOf(view);
    const found = heads === null ? null : operandsOf(make, view);
    if (!found) return;
    const attributes = {
      ...(heads === 0 ? {} : { num_heads: int(heads!) }),
      ...(view.interleaved === 0 ? {} : { interleaved: int(1) }),
      ...(view.rotary_embedding_dim === 0 ? {} : { rotary_embedding_dim: int(view.rotary_embedding_dim) }),
    };
    const [position_ids, cos_cache, sin_cache] = found;
    const operands = { input: view.x, position_ids, cos_cache, sin_cache };
    graph.replace(view.y, make.build.make(RotaryEmbedding, operands, { attributes, like: view.y, name: node.name }).output);
    graph.erase(node);
  });
}

/** The heads that the operator must be told; 0 where they follow from the axes, null where they are unknown. */
function headsOf({ x, num_heads, rotary_embedding_dim }: OnnxRotaryEmbedding): number | null {
  const shape = x.type?.shape;
  if (shape?.length === 3) return num_heads > 0 ? num_heads : null;
  const heads = shape?.length === 4 ? shape[1] : null;
  if (rotary_embedding_dim === 0) return shape?.length === 4 ? 0 : null;
  return typeof heads === 'number' ? heads : null;
}

/** Positions and tables [positions, width]; a table [1, seq, width] is one whose first row is of position 0. */
function operandsOf(make: SharedBuilder, view: OnnxRotaryEmbedding): readonly [Value, Value, Value] | null {
  if (view.position_ids) return [view.position_ids, view.cos_cache, view.sin_cache];
  const tables = [view.cos_cache, view.sin_cache].map(narrowTable);
  if (tables.some((t) => t.type?.shape?.[0] !== 1 || t.type.shape.length !== 3)) return null;
  const [cos, sin] = tables.map((t) =>
    make.value('Squeeze', [t, make.ints('batch', [0])], {}, tensorType(t.type!.dtype, t.type!.shape!.slice(1))),
  );
  return [make.ints('first', [0]), cos!, sin!];
}
