import { int } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { RMSNormalization } from '../../../ir/ops/generated.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import { dtypes, tensorType, type DType } from '../../../ir/types.ts';

/** A norm of the last axis that computes in f32. */
export function plainRmsNormalization(node: Node): RMSNormalization | null {
  const view = viewAs(RMSNormalization, node);
  const last = view?.axis === -1 || view?.axis === (view?.x.type?.shape?.length ?? 0) - 1;
  return view && last && dtypes[view.stash_type - 1] === 'f32' && view.x.type && view.scale.type ? view : null;
}

/**
 * x / sqrt(mean(x^2) + epsilon) in f32, times the gain in the gain's type: the operator's own definition. ONNX Runtime (seen in 1.19, 1.23
 * and 1.30) makes one operator of exactly these six nodes where it may rewrite graphs, and leaves other spellings, as that with a Reciprocal,
 * alone.
 */
export function lowerRmsNormalizations(graph: Graph): void {
  for (const node of [...graph.nodes]) {
    const view = plainRmsNormalization(node);
    if (view) lower(graph, view);
  }
}

function lower(graph: Graph, view: RMSNormalization): void {
  const { node, x, scale, y } = view;
  const { shape } = x.type!;
  const [wide, one] = [tensorType('f32', shape), tensorType('f32', shape && [...shape.slice(0, -1), 1])];
  const build = Builder.before(node, y.name);
  const as = (dtype: DType, v: Value): Value =>
    v.type!.dtype === dtype ? v : build.value('Cast', [v], { to: int(dtypes.indexOf(dtype) + 1) }, tensorType(dtype, shape));
  const single = as('f32', x);
  const square = build.value('Pow', [single, build.scalar('two', 2)], {}, wide);
  const mean = build.value('ReduceMean', [square, build.ints('axes', [-1])], { keepdims: int(1) }, one);
  const sum = build.value('Add', [mean, build.scalar('epsilon', view.epsilon)], {}, one);
  const quotient = build.value('Div', [single, build.value('Sqrt', [sum], {}, one)], {}, wide);
  graph.replace(y, build.value('Mul', [as(scale.type!.dtype, quotient), scale], {}, y.type));
  graph.erase(node);
}
