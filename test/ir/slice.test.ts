import { afterAll, describe, expect, test } from '@jest/globals';
import { parseGraph, verify, type Node } from '../../ir/index.ts';
import { extract, sliceOf, type Slice } from '../../ir/slice.ts';
import { runOnce, type Feeds } from '../../passes/index.ts';
import { f32, plainExecutor, randomFeed } from '../support/run.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

/** All slices one after the other, each fed with what the ones before it gave. */
async function chained(parts: readonly Slice[], feeds: Feeds): Promise<Feeds> {
  let alive: Feeds = feeds;
  for (const [k, part] of parts.entries()) {
    const { graph } = extract(`slice ${k}`, part);
    verify(graph);
    if (graph.outputs.length === 0) continue;
    const reads = Object.fromEntries(graph.inputs.map((v) => [v.name, alive[v.name]!]));
    alive = { ...alive, ...(await runOnce(executor, graph, reads)) };
  }
  return alive;
}

const branching = `graph @branching(%x: f32[2,4], %c: bool) {
  const %w1: f32[4,4] = random 1
  const %w2: f32[4,4] = random 2
  const %k: f32[4] = [1.0, 2.0, 3.0, 4.0]
  %a: f32[2,4] = MatMul(%x, %w1)
  %b: f32[2,4] = Relu(%a)
  %y: f32[2,4] = If(%c) {then_branch = graph @t() { %t: f32[2,4] = Add(%b, %k) return %t }, else_branch = graph @e() {
    %d: bool = Not(%c)
    %e: f32[2,4] = If(%d) {then_branch = graph @tt() { %tt: f32[2,4] = Mul(%a, %b) return %tt }, else_branch = graph @ee() { %ee: f32[2,4] = Neg(%b) return %ee }}
    return %e
  }}
  %z: f32[2,4] = MatMul(%y, %w2)
  return %z, %a
}`;

describe('a chain of slices of one node gives what the whole graph gives, bit by bit', () => {
  test.each([0, 1])('with bodies that capture values of other slices, condition %i', async (kind) => {
    const graph = parseGraph(branching);
    const feeds: Feeds = { x: randomFeed([2, 4], 3), c: { dtype: 'bool', shape: [], data: Uint8Array.of(kind === 0 ? 0 : 1) } };
    const whole = await runOnce(executor, graph, feeds);
    const parts = [...graph.nodes].map((n) => sliceOf(graph, [n]));
    expect(await chained(parts, feeds)).toMatchObject(whole);
  });
});

describe('what crosses a cut', () => {
  test('are values that others make, captured ones too, and values that others read', () => {
    const graph = parseGraph(branching);
    const [, relu, branch] = [...graph.nodes] as [Node, Node, Node];
    const names = (s: Slice): unknown => [s.inputs.map((v) => v.name).sort(), s.outputs.map((v) => v.name)];
    expect(names(sliceOf(graph, [branch]))).toEqual([['a', 'b', 'c'], ['y']]);
    expect(names(sliceOf(graph, [relu]))).toEqual([['a'], ['b']]);
    expect(names(sliceOf(graph, [...graph.nodes]))).toEqual([
      ['c', 'x'],
      ['a', 'z'],
    ]);
  });
  test('extraction shares constants, those of bodies too, and leaves the graph as it was', () => {
    const graph = parseGraph(branching);
    const before = graph.version;
    const [, , branch] = [...graph.nodes] as [Node, Node, Node];
    const { graph: part, copies } = extract('part', sliceOf(graph, [branch]));
    const k = [...graph.constants].find((c) => c.name === 'k')!;
    expect(copies.get(k)!.constant).toBe(k.constant);
    expect([...part.constants].map((c) => c.name)).toEqual(['k']);
    expect(graph.version).toBe(before);
    verify(graph);
  });
  test('an outcome that is not asked for is not given', async () => {
    const graph = parseGraph(
      'graph @g(%x: f32[2], %y0: f32[2]) { %a: f32[2] = Relu(%x) %b: f32[2] = Neg(%x) %y: f32[2] = Add(%a, %b) return %y }',
    );
    const [a, b] = [...graph.nodes] as [Node, Node];
    const { graph: part } = extract('part', sliceOf(graph, [a, b]), [b.output]);
    expect(await runOnce(executor, part, { x: f32([2], [1, -2]) })).toEqual({ b: f32([2], [-1, 2]) });
  });
});
