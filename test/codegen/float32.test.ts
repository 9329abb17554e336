import { describe, expect, test } from '@jest/globals';
import { restoreTypes, storeHalves, toFloat32 } from '../../codegen/float32.ts';
import { parseGraph } from '../../ir/text/parser.ts';
import { verify } from '../../ir/verify.ts';

/** What callers see of a graph: names and types of its inputs and outputs. */
const seen = (text: string): readonly string[] => {
  const graph = parseGraph(text);
  const types = toFloat32(graph);
  restoreTypes(graph, types);
  storeHalves(graph);
  verify(graph);
  return [...graph.inputs, ...graph.outputs].map((v) => `${v.name}: ${v.type?.dtype}`);
};

describe('a model of f16 that computes in f32', () => {
  test('gives a constant and an input under the names that they had', () => {
    expect(
      seen(`graph @g(%x: f16[2]) {
        const %w: f16[2] = [1.0, 2.0]
        %y: f16[2] = Add(%x, %w)
        return %y, %w, %x
      }`),
    ).toEqual(['x: f16', 'y: f16', 'w: f16', 'x: f16']);
  });
  test('gives what a Cast of its own reads, whoever gives that out already', () => {
    expect(
      seen(`graph @g(%x: f32[2]) {
        %y: f32[2] = Relu(%x)
        %a: f16[2] = Cast(%y) {to = 10}
        %b: f16[2] = Cast(%y) {to = 10}
        return %y, %a, %b
      }`),
    ).toEqual(['x: f32', 'y: f32', 'a: f16', 'b: f16']);
  });
});
