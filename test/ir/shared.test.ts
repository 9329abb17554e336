import { afterAll, describe, expect, test } from '@jest/globals';
import { Builder, int, parseGraph, type Graph } from '../../ir/index.ts';
import { causalMask, lowest, readCausalMask, readPositions, tokenPositions } from '../../ir/causal-mask.ts';
import { SharedBuilder } from '../../ir/shared.ts';
import { runOnce } from '../../passes/index.ts';
import { i32 } from '../support/fused-forms.ts';
import { opsOf, plainExecutor, randomFeed, valueNamed } from '../support/run.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

describe('nodes are made once', () => {
  const graphOf = (): Graph =>
    parseGraph('graph @g(%x: f32[B,S,8], %y: f32[B,S,8]) { %a = Neg(%x) %b = Neg(%y) %c = Add(%a, %b) return %c }');
  const before = (graph: Graph, name: string): SharedBuilder => new SharedBuilder(Builder.before(valueNamed(graph, name).producer!));

  test('where an equal one stands in front', () => {
    const graph = graphOf();
    expect(before(graph, 'c').value('Neg', [valueNamed(graph, 'x')])).toBe(valueNamed(graph, 'a'));
    expect(graph.size).toBe(3);
  });
  test('but not where it stands behind, has other attributes, or is another operator', () => {
    const graph = graphOf();
    expect(before(graph, 'a').value('Neg', [valueNamed(graph, 'y')])).not.toBe(valueNamed(graph, 'b'));
    before(graph, 'c').value('Neg', [valueNamed(graph, 'x')], { axis: int(1) });
    before(graph, 'c').value('Abs', [valueNamed(graph, 'x')]);
    expect(opsOf(graph)).toEqual(['Neg', 'Neg', 'Neg', 'Neg', 'Abs', 'Add']);
  });
  test('and so are small constants, and extents of the same name', () => {
    const graph = graphOf();
    const make = before(graph, 'c');
    expect(make.ints('one', [1])).toBe(make.ints('other', [1]));
    expect(make.ints('one', [1])).not.toBe(make.ints('two', [2]));
    expect(make.extent(valueNamed(graph, 'y'), 1)).toBe(make.extent(valueNamed(graph, 'x'), 1));
    expect(make.extent(valueNamed(graph, 'y'), 1)).not.toBe(make.extent(valueNamed(graph, 'y'), 0));
    expect(make.extent(valueNamed(graph, 'y'), 2).constant).not.toBeNull();
  });
});

describe('a mask by the lengths of sequences', () => {
  /** A graph that gives positions and a mask for tokens [2, seq]. */
  function maskGraph(window: number | null): Graph {
    const graph = parseGraph('graph @g(%x: f32[B,S,1], %last: i32[B], %total: i32[]) { %y: f32[B,S,1] = Neg(%x) return %y }');
    const make = new SharedBuilder(Builder.atEnd(graph));
    const [x, last, total] = ['x', 'last', 'total'].map((name) => valueNamed(graph, name));
    const mask = causalMask(make, { last: last!, total: total! }, x!, window);
    graph.setOutputs([tokenPositions(make, last!, x!), mask]);
    return graph;
  }
  const cases = [
    { window: null, last: [4, 4], tokens: 5, total: 5 },
    { window: null, last: [4, 2], tokens: 5, total: 5 },
    { window: null, last: [6, 3], tokens: 1, total: 7 },
    { window: 2, last: [4, 4], tokens: 5, total: 5 },
    { window: 3, last: [6, 6], tokens: 2, total: 7 },
  ];
  test.each(cases)('is what its definition says: %o', async ({ window, last, tokens, total }) => {
    const graph = maskGraph(window);
    const feeds = { x: randomFeed([2, tokens, 1], 1), last: i32([2], last), total: i32([], [total]) };
    const [positions, mask] = Object.values(await runOnce(executor, graph, feeds));
    const placed = last.flatMap((n) => Array.from({ length: tokens }, (_, i) => Math.max(n - (tokens - 1), 0) + i));
    expect(Array.from(positions!.data, Number)).toEqual(placed);
    const seen = (at: number, key: number): boolean => key <= at && (window === null || key > at - window);
    expect(mask!.shape).toEqual([2, 1, tokens, total]);
    expect(Array.from(mask!.data, Number)).toEqual(
      placed.flatMap((at) => Array.from({ length: total }, (_, key) => (seen(at, key) ? 0 : Math.fround(lowest)))),
    );
  });
  test.each([null, 4])('is read back, with a window of %p', (window) => {
    const graph = maskGraph(window);
    const [positions, mask] = graph.outputs;
    const [last, total] = ['last', 'total'].map((name) => valueNamed(graph, name));
    expect(readCausalMask(mask!)).toEqual({ last, total, window });
    expect(readPositions(positions!)).toBe(last);
    expect([readCausalMask(positions!), readPositions(mask!), readCausalMask(null), readPositions(null)]).toEqual([null, null, null, null]);
  });
  test.each([
    ['Max', 1],
    ['Where', 1],
    ['Where', 2],
    ['Range', 0],
    ['Range', 2],
  ])('is no such mask once the constants of its %s are others (operand %i)', (op, index) => {
    const graph = maskGraph(4);
    for (const node of [...graph.nodes].filter((n) => n.op === op)) {
      const { dtype, shape } = node.input(index)!.constant!;
      const other = parseGraph(`graph @c() { const %c: ${dtype}[${shape.join()}] = splat 7 return %c }`).outputs[0]!.constant!;
      graph.setInput(node, index, graph.addConstant(graph.freshName('seven'), other));
    }
    expect(readCausalMask(graph.outputs[1]!)).toBeNull();
  });
});
