import { describe, expect, test } from '@jest/globals';
import { encodeGraph, readModelBytes } from '../../codegen/onnx/index.ts';
import { completeAttributes, functionsFor } from '../../codegen/onnx/functions.ts';
import { decodeModel, encodeModel } from '../../codegen/onnx/proto.ts';
import { int, ints, string, tensor, type Attributes } from '../../ir/attributes.ts';
import { Graph, Node, type Value } from '../../ir/graph.ts';
import { dense, inMemory, int64s } from '../../ir/tensor.ts';
import { parseGraph } from '../../ir/text/parser.ts';
import { tensorType, type Dim } from '../../ir/types.ts';
import { codeOf, floatsOf, localFunction, node, run } from './models.ts';

const data = [1, -2, 3.25, 4, 0.5, -6];
const feeds = { x: floatsOf(data, [2, 3]) };
const doubles = (...values: number[]) => tensor(inMemory('f64', [values.length], Float64Array.from(values)));

function graphOf(
  op: string,
  attributes: Attributes,
  more: (g: Graph) => Value[] = () => [],
  shape: readonly Dim[] = ['n', 3],
  opset = 23,
): Graph {
  const graph = new Graph('g');
  graph.opsets.set('', opset);
  const x = graph.addInput('x', tensorType('f32', shape));
  const made = graph.append(new Node({ op, inputs: [x, ...more(graph)], results: [{ name: 'y', type: null }], attributes }));
  graph.addOutput(made.output);
  return graph;
}

/** The result in ONNX Runtime, the same after the model was read and saved once more. */
async function compute(graph: Graph): Promise<unknown[]> {
  const bytes = encodeGraph(graph);
  const again = encodeGraph(readModelBytes(bytes));
  expect(Buffer.compare(bytes, again)).toBe(0);
  return (await run(bytes, feeds))['y']!;
}

describe('bodies of qc operators run in stock ONNX Runtime', () => {
  test.each([17, 21, 23, 26])('Site is the identity in operator set %i, whatever its attributes', async (opset) => {
    expect(
      await compute(graphOf('qc.Site', { quant: string('u8'), id: int(3), order: ints([1, 2]) }, undefined, undefined, opset)),
    ).toEqual(data);
    expect(await compute(graphOf('qc.Observer', {}, undefined, undefined, opset))).toEqual(data);
  });
  test.each(['qc.Encode', 'qc.Decode'])('%s moves, scales and shifts channels', async (op) => {
    const y = await compute(graphOf(op, { perm: ints([2, 0, 1]), scale: doubles(2, 0.5, -1), shift: doubles(0, 10, 0.25) }));
    const expected = [0, 3].flatMap((r) => [data[r + 2]! * 2, data[r]! * 0.5 + 10, -data[r + 1]! + 0.25]);
    expect(y).toEqual(expected);
  });
  test('what Encode leaves out is the identity', async () => {
    expect(await compute(graphOf('qc.Encode', { perm: ints([1, 2, 0]) }))).toEqual([-2, 3.25, 1, 0.5, -6, 4]);
    expect(await compute(graphOf('qc.Encode', { scale: doubles(1, 2, 3) }))).toEqual([1, -4, 9.75, 4, 1, -18]);
    expect(await compute(graphOf('qc.Decode', { shift: doubles(1, 2, 3) }))).toEqual([2, 0, 6.25, 5, 2.5, -3]);
    expect(await compute(graphOf('qc.Decode', {}))).toEqual(data);
    const blind = graphOf('qc.Decode', {}, undefined, ['n', null]);
    expect(codeOf(() => completeAttributes([...blind.nodes][0]!))).toBe('QC4001');
  });
  test('FakeQuantize rounds each channel by the numbers of its group', async () => {
    const [scale, zero, index] = [
      [0.5, 0.1],
      [3, -1],
      [1, 0, 1],
    ];
    const y = await compute(
      graphOf('qc.FakeQuantize', { qmin: int(-8), qmax: int(7) }, (g) => [
        g.addConstant('scale', dense([2], scale)),
        g.addConstant('zero', dense([2], zero)),
        g.addConstant('index', int64s([3], index)),
      ]),
    );
    const even = (v: number): number => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));
    const f = Math.fround;
    const expected = data.map((v, i) => {
      const [s, z] = [f(scale[index[i % 3]!]!), zero[index[i % 3]!]!];
      const q = Math.min(7, Math.max(-8, even(f(v / s)) + z));
      return f((q - z) * s);
    });
    expect(y).toEqual(expected);
    expect(expected).toContain(f(8 * f(0.1)));
  });
  test('operators inside an If have bodies, too', async () => {
    const graph = new Graph('g');
    const x = graph.addInput('x', tensorType('f32', ['n', 3]));
    const branch = (name: string): Graph => {
      const inner = new Graph(name, graph);
      inner.addOutput(
        inner.append(
          new Node({
            op: 'qc.Encode',
            inputs: [x],
            results: [{ name: `${name}_r`, type: tensorType('f32', ['n', 3]) }],
            attributes: { scale: doubles(1, 2, 3) },
          }),
        ).output,
      );
      return inner;
    };
    const condition = graph.addConstant('c', inMemory('bool', [], Uint8Array.of(1)));
    const attributes: Attributes = {
      then_branch: { kind: 'graph', value: branch('then') },
      else_branch: { kind: 'graph', value: branch('else') },
    };
    graph.addOutput(graph.append(new Node({ op: 'If', inputs: [condition], results: [{ name: 'y', type: null }], attributes })).output);
    expect(await compute(graph)).toEqual([1, -4, 9.75, 4, 1, -18]);
  });
});

test('functions are made for the operators in use, in order', () => {
  const graph = graphOf('qc.Site', { b: int(1), a: int(2) });
  expect(functionsFor(graph).functions.map((f) => [f.domain, f.name, f.attribute])).toEqual([['qc', 'Site', ['a', 'b']]]);
});

test('functions of our domain are made anew; others, and ours that we cannot make, stay', () => {
  const model = decodeModel(encodeGraph(graphOf('qc.Site', {})));
  const stale = localFunction('Site', [node('Neg', ['x'], ['y'])], { domain: 'qc' });
  const unused = localFunction('Encode', [node('Neg', ['x'], ['y'])], { domain: 'qc' });
  const foreign = localFunction('F', [node('Neg', ['x'], ['y'])]);
  const graph = readModelBytes(encodeModel({ ...model, functions: [stale, unused, foreign] }));
  expect(decodeModel(encodeGraph(graph)).functions!.map((f) => [f.name, f.node![0]!.opType])).toEqual([
    ['Site', 'Identity'],
    ['F', 'Neg'],
  ]);
});

describe('calls of an operator with other bodies', () => {
  const text = (more: string) => `graph @g(%codes: u8[1,32]) {
    const %scale: f32[1] = [0.5]
    const %zero: f32[1] = [1.0]
    %a: f32[1,32] = qc.DequantizeClusters(%codes, %scale, %zero) {bits = 8, groups = [32]}
    ${more}
    return %a, %b
  }`;
  const other = '%b: f32[1,64] = qc.DequantizeClusters(%codes, %scale, %zero) {bits = 4, groups = [64]}';
  const names = (bytes: Uint8Array) => {
    const { graph, functions } = decodeModel(bytes);
    return [graph!.node!.map((n) => n.opType), functions!.map((f) => f.name), functions!.map((f) => f.overload ?? '')];
  };
  test('have names of their own, and no overloads, which ONNX Runtime before 1.27 ignores', () => {
    const bytes = encodeGraph(parseGraph(text(other)));
    expect(names(bytes)).toEqual([
      ['DequantizeClusters_1', 'DequantizeClusters'],
      ['DequantizeClusters', 'DequantizeClusters_1'],
      ['', ''],
    ]);
  });
  test('are the same operator when the model is read again', () => {
    const bytes = encodeGraph(parseGraph(text(other)));
    const again = readModelBytes(bytes);
    expect([...again.nodes].map((n) => n.op)).toEqual(['qc.DequantizeClusters', 'qc.DequantizeClusters']);
    expect(names(encodeGraph(again))).toEqual(names(bytes));
  });
  test('beyond the names that the library knows have overloads', () => {
    const widths = [3, 4, 8];
    const nodes = Array.from(
      { length: 40 },
      (_, i) =>
        `%m${i}: f32[1,4] = qc.ClusterMatMul(%codes, %w, %s, %b${i % 2 === 0 ? ', %z' : ''}) {groups = [32], a_bits = ${widths[i % 3]}, w_bits = ${widths[Math.floor(i / 3) % 3]}, activation = "${['none', 'relu', 'gelu', 'silu'][i % 4]}"}`,
    );
    const graph = parseGraph(`graph @g(%codes: u8[1,32]) {
      const %w: u8[1] = [0] const %s: f32[1] = [1.0] const %b: f32[4] = [0.0, 0.0, 0.0, 0.0] const %z: i8[1] = [0]
      ${nodes.join('\n')}
      return %m0
    }`);
    const [, functions, overloads] = names(encodeGraph(graph)) as [string[], string[], string[]];
    expect(functions.filter((n) => n === 'ClusterMatMul_15')).toHaveLength(1);
    expect(functions).not.toContain('ClusterMatMul_16');
    expect(new Set(functions.map((n, i) => `${n}:${overloads[i]}`)).size).toBe(functions.length);
    expect(overloads.filter((o) => o !== '').length).toBe(functions.length - 16);
  });
});
