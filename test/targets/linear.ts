import { dense, Graph, groupIndex, int, int64s, Node, tensorType, type Value } from '../../ir/index.ts';
import { numbers } from '../support/run.ts';

export interface Quantizer {
  readonly sizes: readonly number[];
  readonly scale: readonly number[];
  readonly zero: readonly number[];
  readonly qmin: number;
  readonly qmax: number;
}
export interface LinearSpec {
  readonly input: Quantizer | { readonly block: number } | null;
  readonly weight: Quantizer;
  readonly rows: number;
  readonly columns: number;
  readonly bias?: boolean;
  readonly w: Float32Array;
}

/** x, quantized as told, times a quantized weight. */
export function linear({ input, weight, rows, columns, bias = false, w }: LinearSpec): Graph {
  const graph = new Graph('linear');
  const type = tensorType('f32', ['B', 'S', rows]);
  const node = (op: string, inputs: readonly Value[], name: string, attributes = {}, result = type): Value =>
    graph.append(new Node({ op, inputs, attributes, results: [{ name, type: result }] })).output;
  const constants = (name: string, q: Quantizer, shape: readonly number[]): readonly Value[] => [
    graph.addConstant(`${name}.scale`, dense(shape, q.scale)),
    graph.addConstant(`${name}.zero`, dense(shape, q.zero)),
    graph.addConstant(`${name}.index`, int64s([rows], groupIndex(q.sizes))),
  ];
  const bounds = (q: Quantizer) => ({ qmin: int(q.qmin), qmax: int(q.qmax) });
  let x = graph.addInput('x', type);
  if (input && 'block' in input)
    x = node('qc.DynamicQuantize', [x], 'xq', { qmin: int(-127), qmax: int(127), symmetric: int(1), block: int(input.block) });
  else if (input) x = node('qc.FakeQuantize', [x, ...constants('x', input, [input.sizes.length])], 'xq', bounds(input));
  const raw = graph.addConstant('w', dense([rows, columns], w));
  const q = node(
    'qc.FakeQuantize',
    [raw, ...constants('w', weight, [weight.sizes.length, columns])],
    'wq',
    bounds(weight),
    tensorType('f32', [rows, columns]),
  );
  const out = tensorType('f32', ['B', 'S', columns]);
  let y = node('MatMul', [x, q], 'y', {}, out);
  if (bias) y = node('Add', [y, graph.addConstant('b', dense([columns], numbers(columns, 77)))], 'z', {}, out);
  graph.addOutput(y);
  return graph;
}

export const scales = (n: number, seed: number, size = 0.02): readonly number[] =>
  Array.from(numbers(n, seed), (x) => Math.fround(size * (1.1 + x)));
export const zeros = (n: number, seed: number, size: number): readonly number[] =>
  Array.from(numbers(n, seed), (x) => Math.round(x * size));
