import { describe, expect, test } from '@jest/globals';
import { Graph, Node, parseGraph, tensorType, verify, type Use, type Value } from '../../ir/index.ts';
import { errorOf, valueNamed } from '../support/run.ts';

const type = tensorType('f32', [2]);
const relu = (x: Value, name: string): Node => new Node({ op: 'Relu', inputs: [x], results: [{ name, type }] });
const good = (): Graph => parseGraph('graph @g(%x: f32[2]) { %a = Relu(%x) %b = Neg(%a) return %b }');
const complaint = (graph: Graph): string | undefined => errorOf(() => verify(graph))?.message;

describe('verify', () => {
  test('is silent on a good graph', () => expect(complaint(good())).toBeUndefined());
  test('finds a use before its definition', () => {
    const graph = good();
    graph.prepend(relu(valueNamed(graph, 'b'), 'early'));
    expect(complaint(graph)).toContain('error QC1401: Relu uses %b before it is defined');
  });
  test('finds the use of a value that is not in the graph at all', () => {
    const graph = good();
    graph.append(relu(new Graph('other').addInput('far', type), 'lost'));
    expect(complaint(graph)).toContain('Relu uses %far before it is defined');
  });
  test('finds two values of one name', () => {
    const graph = good();
    graph.append(relu(graph.inputs[0]!, 'a'));
    expect(complaint(graph)).toContain('two values are named %a');
  });
  test('finds a name in a body that the graph around it has', () => {
    const graph = parseGraph(
      'graph @g(%x: f32[2], %c: bool) { %y = If(%c) {then_branch = graph @t() { %a = Relu(%x) return %a }, else_branch = graph @e() { %b = Neg(%x) return %b }} return %y }',
    );
    expect(complaint(graph)).toBeUndefined();
    const body = [...graph.nodes][0]!.bodies[0]!;
    body.rename([...body.nodes][0]!.output, 'x');
    expect(complaint(graph)).toContain('two values are named %x');
  });
  test('finds a body that reads what comes after it', () => {
    const graph = parseGraph(
      'graph @g(%x: f32[2], %c: bool) { %y = If(%c) {then_branch = graph @t() { %a = Relu(%x) return %a }, else_branch = graph @e() { %b = Neg(%x) return %b }} %z = Abs(%x) return %y, %z }',
    );
    const body = [...graph.nodes][0]!.bodies[0]!;
    body.setInput([...body.nodes][0]!, 0, valueNamed(graph, 'z'));
    expect(complaint(graph)).toContain('Relu uses %z before it is defined');
  });
  test('finds a use list that misses an operand', () => {
    const graph = good();
    const a = valueNamed(graph, 'a');
    (a.uses as Set<Use>).clear();
    expect(complaint(graph)).toContain('the use list of %a misses Neg');
  });
  test('finds a use list that names a node which is not in the graph', () => {
    const graph = good();
    relu(graph.inputs[0]!, 'never inserted');
    expect(complaint(graph)).toContain('the use list of %x has a Relu that does not read it here');
  });
  test('finds a use list that names a node which reads another value', () => {
    const graph = good();
    const [x, a] = [graph.inputs[0]!, valueNamed(graph, 'a')];
    for (const use of a.uses) (x.uses as Set<Use>).add(use);
    expect(complaint(graph)).toContain('the use list of %x has a Neg that does not read it here');
  });
  test('finds an output that nothing defines', () => {
    const graph = good();
    graph.addOutput(new Graph('other').addInput('far', type));
    expect(complaint(graph)).toContain('graph output %far is not defined');
  });
  test('takes results without a name, however many', () => {
    const graph = parseGraph('graph @g(%x: f32[2]) { %a, _ = Dropout(%x) %b, _ = Dropout(%a) return %b }');
    expect(complaint(graph)).toBeUndefined();
  });
  test('says where', () => {
    const graph = parseGraph('graph @g(%x: f32[2]) {\n  %a = Relu(%x)\n  %b = Neg(%a)\n  return %b\n}', { file: 'g.qcir' });
    graph.setInput(valueNamed(graph, 'a').producer!, 0, valueNamed(graph, 'b'));
    expect(complaint(graph)).toBe('g.qcir:2:3: error QC1401: Relu uses %b before it is defined');
  });
});
