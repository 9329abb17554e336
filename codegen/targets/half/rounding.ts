import { int } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import { cloneGraph } from '../../../ir/clone.ts';
import type { Graph, Value } from '../../../ir/graph.ts';
import { tensorType } from '../../../ir/types.ts';

/**
 * A copy that rounds each f16 result as f16 does. On the CPU, ONNX Runtime computes most f16 operators in f32 and drops the Casts between
 * them, so that nothing overflows there and little is rounded; a GPU does both. Not for use, but to see what a GPU will give.
 */
export function roundingHalves(graph: Graph): Graph {
  const copy = cloneGraph(graph);
  const read = [...copy.nodes].flatMap((n) => n.outputs).filter((v) => v.uses.size > 0);
  for (const value of read) if (value.type?.dtype === 'f16') roundBehind(copy, value);
  return copy;
}

/** To keep 11 of f32's 24 bits, after Veltkamp: x c - (x c - x) with c = 2^13 + 1. */
const splitter = 2 ** 13 + 1;
/** Times this, 65536 is infinite in f32 and 65504 is not. */
const beyond = 2 ** 112;
/** By this, the last bit of f16's smallest numbers becomes the last of f32's. */
const below = 2 ** -125;

function roundBehind(graph: Graph, value: Value): void {
  const shape = value.type!.shape;
  const build = Builder.behind(graph, value);
  const then = (op: string, inputs: readonly (Value | number)[], dtype: 'f32' | 'f16' = 'f32'): Value => {
    const operands = inputs.map((x) => (typeof x === 'number' ? build.scalar('rounding', x) : x));
    const attributes = op === 'Cast' ? { to: int(dtype === 'f32' ? 1 : 10) } : {};
    const type = tensorType(op === 'IsInf' ? 'bool' : dtype, shape);
    return build.value(op, operands, attributes, type, `${value.name}.rounded`);
  };
  const readers = [...value.uses];
  const x = then('Cast', [value]);
  const wide = then('Mul', [x, splitter]);
  const eleven = then('Sub', [wide, then('Sub', [wide, x])]);
  const bounded = then('Mul', [then('Mul', [eleven, beyond]), 1 / beyond]);
  const small = then('Mul', [then('Mul', [bounded, below]), 1 / below]);
  const rounded = then('Cast', [then('Where', [then('IsInf', [x]), x, small])], 'f16');
  for (const { node, index } of readers) node.graph!.setInput(node, index, rounded);
}
