import { describe, expect, test } from '@jest/globals';
import { Builder, int, ops, parseGraph, printGraph, scalar, verify, type Graph } from '../../ir/index.ts';
import { errorOf, valueNamed } from '../support/run.ts';

const small = (): Graph =>
  parseGraph(`graph @g(%x: f32[2], %y: f32[2]) {
    %a: f32[2] = Relu(%x)
    %b: f32[2] = Add(%a, %y)
    return %b
  }`);
const order = (graph: Graph): readonly string[] => [...graph.nodes].map((n) => n.output.name);

describe('a builder puts nodes', () => {
  test('in front of a node, one behind the other', () => {
    const graph = small();
    const build = Builder.before(valueNamed(graph, 'b').producer!);
    const first = build.value('Neg', [graph.inputs[0]!]);
    build.value('Abs', [first]);
    verify(graph);
    expect(order(graph)).toEqual(['a', 'Neg', 'Abs', 'b']);
  });
  test('behind what makes a value, in front of all nodes where nothing does, and at the end', () => {
    const graph = small();
    const build = Builder.behind(graph, valueNamed(graph, 'a'));
    build.value('Abs', [build.value('Neg', [valueNamed(graph, 'a')])]);
    Builder.behind(graph, graph.inputs[0]!).value('Exp', [graph.inputs[0]!]);
    Builder.behind(graph, valueNamed(graph, 'b')).value('Log', [valueNamed(graph, 'b')]);
    Builder.atEnd(graph).value('Sin', [valueNamed(graph, 'b')]);
    verify(graph);
    expect(order(graph)).toEqual(['Exp', 'a', 'Neg', 'Abs', 'b', 'Log', 'Sin']);
  });
  test('in the graph of the node, which may be the body of an If', () => {
    const graph = parseGraph(`graph @g(%x: f32[2], %c: bool) {
      %y = If(%c) {then_branch = graph @t() { %a = Relu(%x) return %a }, else_branch = graph @e() { %b = Neg(%x) return %b }}
      return %y
    }`);
    const body = [...graph.nodes][0]!.bodies[0]!;
    Builder.before(body.first!).value('Abs', [graph.inputs[0]!]);
    expect(order(body)).toEqual(['Abs', 'a']);
  });
  test('but not beside one that is in no graph', () => {
    const graph = small();
    const { producer } = Builder.atEnd(graph).value('Neg', [graph.inputs[0]!]);
    graph.erase(producer!);
    expect(errorOf(() => Builder.before(producer!))?.message).toContain('error QC1001: Neg is in no graph');
  });
});

describe('a builder', () => {
  test('names results like another value, or after its stem', () => {
    const graph = small();
    const [x] = graph.inputs;
    const build = Builder.atEnd(graph, 'stem');
    const like = build.make(ops.Relu, { x: x! }, { like: valueNamed(graph, 'a') });
    const other = build.make(ops.Cast, { input: x! }, { attributes: { to: int(7) }, type: { dtype: 'i64', shape: [2] }, name: 'node' });
    expect([like.y.name, like.y.type]).toEqual(['a_1', valueNamed(graph, 'a').type]);
    expect([other.output.name, other.output.type?.dtype, other.node.name]).toEqual(['stem.Cast', 'i64', 'node']);
    expect(
      [build.vector('v', [1, 2]), build.ints('i', [3]), build.scalar('s', 4), build.constant('c', scalar(5))].map((v) => v.name),
    ).toEqual(['stem.v', 'stem.i', 'stem.s', 'stem.c']);
  });
  test('puts operands in the order of the schema: optional ones up to the last that is mentioned, variadic ones as lists', () => {
    const graph = small();
    const [x, y] = graph.inputs as [(typeof graph.inputs)[number], (typeof graph.inputs)[number]];
    const build = Builder.atEnd(graph);
    build.make(ops.Clip, { max: y, input: x });
    build.make(ops.Gemm, { b: y, a: x });
    build.make(ops.Concat, { inputs: [x, y, x] }, { attributes: { axis: int(0) } });
    const text = printGraph(graph);
    expect(text).toContain('Clip(%x, _, %y)');
    expect(text).toContain('Gemm(%x, %y)');
    expect(text).toContain('Concat(%x, %y, %x)');
  });
  test('knows the names of operands', () => {
    const graph = small();
    const [x] = graph.inputs;
    const build = Builder.atEnd(graph);
    // @ts-expect-error: Relu has no operand of this name.
    build.make(ops.Relu, { input: x! });
    // @ts-expect-error: a product has two factors.
    build.make(ops.MatMul, { a: x! });
    expect(graph.size).toBe(4);
  });
});
