import { scalarOf } from '../../ir/constants.ts';
import type { Graph, Node, Value } from '../../ir/graph.ts';
import { Cast, ConstantOfShape, Slice } from '../../ir/ops/generated.ts';
import { viewAs } from '../../ir/ops/view.ts';
import type { RewriteRule } from '../../ir/rewrite.ts';
import { dense, floats, int64s, reshapedTo, type Tensor } from '../../ir/tensor.ts';
import { dtypes, type Dim } from '../../ir/types.ts';

/**
 * Extents that are numbers become constants where a Cast makes floats of them, as it does for the scale of an attention, and where they are the
 * ends of a Slice.
 */
export function foldExtents(graph: Graph, contents: (v: Value) => readonly Dim[] | null): void {
  for (const node of [...graph.nodes]) {
    if (viewAs(Slice, node)) foldEnds(graph, node, contents);
    const cast = viewAs(Cast, node);
    const found = cast && dtypes[cast.to - 1] === 'f32' && cast.input.constant === null ? contents(cast.input) : null;
    const shape = node.output.type?.shape;
    if (!found || !shape || found.length !== 1 || typeof found[0] !== 'number') continue;
    graph.replaceUses(node.output, constant(graph, node, dense([1], found as readonly number[])));
  }
}

function foldEnds(graph: Graph, slice: Node, contents: (v: Value) => readonly Dim[] | null): void {
  for (const { value, index } of slice.operands) {
    const found = index > 0 && value && value.constant === null && value.type?.dtype === 'i64' ? contents(value) : null;
    if (found?.every((d) => typeof d === 'number'))
      graph.setInput(slice, index, graph.addConstant(graph.freshName(value!.name), int64s([found.length], found)));
  }
}

/** A constant with the extents of a node's result, all of which are 1. */
function constant(graph: Graph, node: Node, t: Tensor): Value {
  const rank = node.output.type?.shape?.length ?? 0;
  return graph.addConstant(graph.freshName(node.output.name), reshapedTo(t, new Array<number>(rank).fill(1)));
}

/** Functions of f32 numbers that ONNX Runtime computes with one rounding. */
const functions: Readonly<Record<string, (x: number, y: number) => number>> = {
  Sqrt: Math.sqrt,
  Reciprocal: (x) => 1 / x,
  Pow: Math.pow,
  Mul: (x, y) => x * y,
  Div: (x, y) => x / y,
  Add: (x, y) => x + y,
  Sub: (x, y) => x - y,
};

/** f(number) is a number, computed in f32 as ONNX Runtime does. */
export const foldNumbers: RewriteRule = {
  name: 'fold-numbers',
  apply(node, graph) {
    const number = node.output?.type?.dtype === 'f32' && node.output.type.shape?.every((d) => d === 1) ? numberOf(node) : null;
    if (number === null) return 'no-match';
    graph.replaceUses(node.output, constant(graph, node, dense([1], [number])));
    return 'applied';
  },
};

function numberOf(node: Node): number | null {
  const value = node.op === ConstantOfShape.schema.op ? node.attributes.get('value') : null;
  if (value?.kind === 'tensor') return floats(value.value)[0] ?? null;
  const f = functions[node.op];
  const [x = null, y = 0] = node.operands.map((u) => scalarOf(u.value));
  return f && x !== null && y !== null ? Math.fround(f(x, y)) : null;
}
