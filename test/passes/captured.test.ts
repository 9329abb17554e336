import { afterAll, describe, expect, test } from '@jest/globals';
import { lowerTo, settleOpset, targetNamed, targets } from '../../codegen/index.ts';
import { cloneGraph, parseGraph, sites, verify, type Graph, type Node } from '../../ir/index.ts';
import { largestDifference, runOnce, type Feeds } from '../../passes/index.ts';
import { cosine, elements, everyFact, fusingExecutor, i64, randomFeed, runPipeline } from '../support/run.ts';

const executor = fusingExecutor();
afterAll(() => executor.close());

/** Text of nodes that read a value of the outer graph inside a body, and give %i: f32[B,S,8]. */
type Holder = (read: string) => string;

/** What a body computes of the value: something of 8 channels, whatever its width. */
const use = (read: string, result: string): string =>
  `%m_${result}: f32[B,S,1] = ReduceMean(%${read}, %last) %${result}: f32[B,S,8] = Add(%x, %m_${result})`;

const branch = (name: string, text: string): string => `graph @${name}() { ${text} }`;
const ifNode = (result: string, condition: string, then: string, other: string): string =>
  `%${result}: f32[B,S,8] = If(%${condition}) { then_branch = ${then}, else_branch = ${other} }`;

const holders: Readonly<Record<string, Holder>> = {
  'If, in the branch that is taken': (read) =>
    ifNode('i', 'flag', branch('then', `${use(read, 't')} return %t`), branch('else', '%e: f32[B,S,8] = Neg(%x) return %e')),
  'If, in both branches': (read) =>
    ifNode(
      'i',
      'flag',
      branch('then', `${use(read, 't')} return %t`),
      branch('else', `${use(read, 'e0')} %e: f32[B,S,8] = Neg(%e0) return %e`),
    ),
  'If in If': (read) =>
    ifNode(
      'i',
      'flag',
      branch(
        'then',
        `${ifNode('in1', 'flag', branch('deep', `${use(read, 't')} return %t`), branch('deeper', '%d: f32[B,S,8] = Neg(%x) return %d'))}
        return %in1`,
      ),
      branch(
        'else',
        `${ifNode('in2', 'flag', branch('never', '%v: f32[B,S,8] = Exp(%x) return %v'), branch('low', `${use(read, 'l')} return %l`))}
        return %in2`,
      ),
    ),
  Loop: (read) => `%i: f32[B,S,8] = Loop(%times, _, %x) {
    body = graph @body(%count: i64[], %going: bool[], %sum: f32[B,S,8]) {
      %on: bool[] = Identity(%going)
      ${use(read, 'u')}
      %next: f32[B,S,8] = Add(%sum, %u)
      return %on, %next
    } }`,
  'If in Loop': (read) => `%i: f32[B,S,8] = Loop(%times, _, %x) {
    body = graph @body(%count: i64[], %going: bool[], %sum: f32[B,S,8]) {
      %on: bool[] = Identity(%going)
      ${ifNode('u', 'flag', branch('then', `${use(read, 't')} return %t`), branch('else', '%e: f32[B,S,8] = Neg(%x) return %e'))}
      %next: f32[B,S,8] = Add(%sum, %u)
      return %on, %next
    } }`,
  Scan: (read) => `%i0: f32[B,8], %i: f32[B,S,8] = Scan(%start, %x) {
    num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [1],
    body = graph @body(%state: f32[B,8], %token: f32[B,8]) {
      %all: f32[] = ReduceMean(%${read}) {keepdims = 0}
      %next: f32[B,8] = Add(%state, %token)
      %out: f32[B,8] = Add(%next, %all)
      return %next, %out
    } }`,
};

/** Values of the outer graph that passes change: a norm, a product, a sum with a bias, an activation, a residual sum. */
const reads = ['h', 'p', 's', 'r', 'o', 'y', 'n'] as const;

const source = (read: string, holder: Holder): string => `graph @g(%x: f32[B,S,8], %flag: bool[], %times: i64[]) {
  const %g: f32[8] = [1.0, 0.5, 9.0, 1.0, 0.2, 1.0, 7.0, 1.5]
  const %b: f32[8] = [0.0, 3.0, -8.0, 0.5, 0.0, -0.5, 2.0, 0.0]
  const %w1: f32[8,16] = random 3
  const %b1: f32[16] = random 4
  const %w2: f32[16,8] = random 5
  const %w3: f32[8,8] = random 6
  const %w4: f32[8,8] = random 7
  const %last: i64[1] = [-1]
  const %first: i64[1] = [1]
  %start: f32[B,8] = ReduceMean(%x, %first) {keepdims = 0}
  %h: f32[B,S,8] = LayerNormalization(%x, %g, %b)
  %p: f32[B,S,16] = MatMul(%h, %w1)
  %s: f32[B,S,16] = Add(%p, %b1)
  %r: f32[B,S,16] = Relu(%s)
  %o: f32[B,S,8] = MatMul(%r, %w2)
  %y: f32[B,S,8] = Add(%x, %o)
  %n: f32[B,S,8] = LayerNormalization(%y, %g, %b)
  %f: f32[B,S,8] = MatMul(%n, %w3)
  ${holder(read)}
  %k: f32[B,S,8] = Add(%f, %i)
  %z: f32[B,S,8] = MatMul(%k, %w4)
  return %z, %i
}`;

const feeds = (seed: number, flag: number, times: number): Feeds => ({
  x: randomFeed([1, 5, 8], seed),
  flag: { dtype: 'bool', shape: [], data: Uint8Array.of(flag) },
  times: i64([], [times]),
});
/** Calibration that sees one path only, as in the wild; and both paths, on other numbers. */
const samples = [1, 2, 3].map((seed) => feeds(seed, 0, 1));
const paths = [feeds(11, 0, 0), feeds(12, 1, 2)];

const marked = 'raise,fold-constants,tie-weights,mark-sites{scheme=w8a8},observe,calibrate';
const transforms = 'rptq{r1=3 r2=2 r3=2 r4=2 r5=3},fold-channels,os+{threshold=1.5},fold-channels,dead-code';

/** Every value that a graph reads, in its bodies too, has a place in it or around it. */
function expectNothingDangling(graph: Graph): void {
  verify(graph);
  const check = (g: Graph, around: ReadonlySet<unknown>): void => {
    const known = new Set([...around, ...g.inputs, ...g.constants]);
    for (const node of g.nodes) {
      for (const v of node.operands.flatMap((u) => u.value ?? [])) expect([v.name, known.has(v)]).toEqual([v.name, true]);
      for (const body of node.bodies) check(body, known);
      for (const v of node.outputs) known.add(v);
    }
    for (const v of g.outputs) expect([v.name, known.has(v)]).toEqual([v.name, true]);
  };
  check(graph, new Set());
}

const isTransform = ({ op }: Node): boolean => op === 'qc.Encode' || op === 'qc.Decode';

describe.each(Object.entries(holders))('%s', (_, holder) => {
  test.each(reads)('that reads %%%s keeps what it computes on both paths', async (read) => {
    const graph = parseGraph(source(read, holder));
    const before = await Promise.all(paths.map((f) => runOnce(executor, graph, f)));
    await runPipeline(executor, graph, marked, { samples });
    const weights = new Set([...graph.constants]);
    const report = await runPipeline(executor, graph, transforms, { samples, facts: everyFact });
    // Otherwise the comparison below would say nothing.
    for (const name of ['rptq', 'os+']) expect([name, report.passes.find((p) => p.call.name === name)!.changed]).toEqual([name, true]);
    expect([...graph.constants].filter((c) => !weights.has(c)).length).toBeGreaterThan(3);
    expectNothingDangling(graph);
    for (const [i, f] of paths.entries()) expect(largestDifference(before[i]!, await runOnce(executor, graph, f))).toBeLessThan(1e-4);
    expect(sites(graph).length).toBeGreaterThan(3);
    expect([...graph.nodes].filter(isTransform).length).toBeLessThan(6);
  });
});

test.each(['portable', 'ort-cpu', 'qc-cpu'])('quantized and lowered to %s, both paths run and are near', async (target) => {
  for (const read of ['h', 's', 'y']) {
    const graph = parseGraph(source(read, holders['If in If']!));
    const before = await Promise.all(paths.map((f) => runOnce(executor, graph, f)));
    // Ranges of both paths: what lies outside is cut off, and says nothing about the paths.
    await runPipeline(executor, graph, `${marked},${transforms},quantize`, { samples: [...samples, ...paths] });
    const quantized = cloneGraph(graph);
    lowerTo(targetNamed(targets, target), graph);
    settleOpset(graph);
    expectNothingDangling(graph);
    for (const [i, f] of paths.entries()) {
      const lowered = await runOnce(executor, graph, f);
      expect(largestDifference(await runOnce(executor, quantized, f), lowered)).toBeLessThan(0.02);
      expect(cosine(elements(before[i]!, 'z'), elements(lowered, 'z'))).toBeGreaterThan(0.99);
    }
  }
});
