import { int } from '../../ir/attributes.ts';
import { Graph, Node, type Value } from '../../ir/graph.ts';
import { dense, int64s } from '../../ir/tensor.ts';
import { dtypes, tensorType, type DType } from '../../ir/types.ts';

/** `y = x W + b` with a weight of 2 by 2. */
export function linear(): Graph {
  const graph = new Graph('linear');
  const x = graph.addInput('x', tensorType('f32', ['n', 2]));
  const weight = graph.addConstant('weight', dense([2, 2], [1, 2, 3, 4]));
  const bias = graph.addConstant('bias', dense([2], [10, 20]));
  const product = add(graph, 'MatMul', '/product', [x, weight], 'product');
  graph.addOutput(add(graph, 'Add', '/sum', [product, bias], 'y'));
  return graph;
}

/** Twenty products of 512 by 512: some tenths of a second. */
export function heavy(): Graph {
  const graph = new Graph('heavy');
  const x = graph.addInput('x', tensorType('f32', [512, 512]));
  let last = x;
  for (let i = 0; i < 20; i++) last = add(graph, 'MatMul', `/m${i}`, [last, x], `y${i}`);
  graph.addOutput(last);
  return graph;
}

/** Gives its input twice; of any element type that crosses the boundary. */
export function echo(dtype: DType): Graph {
  const graph = new Graph('echo');
  const x = graph.addInput('x', tensorType(dtype, ['n']));
  graph.addOutput(add(graph, 'Concat', '/twice', [x, x], 'y', dtype));
  return graph;
}

/** Fails when it runs: seven rows fit no feed of ours. */
export function mismatched(): Graph {
  const graph = new Graph('mismatched');
  const x = graph.addInput('x', tensorType('f32', ['n']));
  const shape = graph.addConstant('shape', int64s([1], [7]));
  const node = new Node({
    op: 'Reshape',
    name: '/wrong',
    inputs: [x, shape],
    results: [{ name: 'y', type: null }],
    loc: { kind: 'onnx', file: 'source.onnx', node: '/layers.0/view' },
  });
  graph.append(node);
  graph.addOutput(node.output);
  return graph;
}

/** A graph whose one operator ONNX Runtime does not know. */
export function unknownOperator(): Graph {
  const graph = new Graph('unknown');
  const x = graph.addInput('x', tensorType('f32', ['n']));
  graph.addOutput(add(graph, 'Frobnicate', '/what', [x], 'y'));
  return graph;
}

/** A graph that gives, or takes, an element type which must not reach the boundary. */
export function narrow(role: 'input' | 'output', dtype: DType): Graph {
  const graph = new Graph('narrow');
  const x = graph.addInput('x', tensorType(role === 'input' ? dtype : 'f32', ['n']));
  const to = role === 'input' ? 'f32' : dtype;
  const node = new Node({
    op: 'Cast',
    name: '/cast',
    inputs: [x],
    results: [{ name: 'y', type: tensorType(to, ['n']) }],
    attributes: { to: int(dtypes.indexOf(to) + 1) },
  });
  graph.append(node);
  graph.addOutput(node.output);
  return graph;
}

function add(graph: Graph, op: string, name: string, inputs: readonly Value[], result: string, dtype: DType = 'f32'): Value {
  const attributes = op === 'Concat' ? { axis: int(0) } : {};
  return graph.append(new Node({ op, name, inputs, results: [{ name: result, type: tensorType(dtype, null) }], attributes })).output;
}
