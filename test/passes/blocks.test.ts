import { afterAll, describe, expect, test } from '@jest/globals';
import {
  Builder,
  changeBasis,
  Graph,
  inferTypes,
  Node,
  parseGraph,
  permutation,
  scalar,
  sites,
  standardize,
  type Value,
} from '../../ir/index.ts';
import { ints } from '../../ir/attributes.ts';
import {
  blocks,
  compare,
  definePass,
  referenceOf,
  runOnce,
  runToLast,
  type Block,
  type Feeds,
  type Reference,
} from '../../passes/index.ts';
import { extract, readsOf } from '../../ir/slice.ts';
import {
  contractOn,
  fixtureData,
  fixtureNames,
  openFixture,
  plainExecutor,
  randomFeed,
  runPipeline,
  sweepContext,
  valueNamed,
} from '../support/run.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

const nodesOf = (parts: readonly Block[]): readonly Node[] => parts.flatMap((p) => p.nodes);
const crossing = (part: Block): readonly string[] => part.inputs.filter((v) => v.producer !== null).map((v) => v.name);

/** Three layers of a pre-norm MLP, whose residual stream is %x1, %x2, %x3. */
const layers = (): Graph =>
  parseGraph(`graph @layers(%x: f32[1,4,8], %mask: f32[1,4,1]) {
    const %g: f32[8] = splat 1.0
    const %b: f32[8] = splat 0.1
    ${[0, 1, 2].map((l) => `const %v${l}: f32[8,32] = random ${l + 1} const %w${l}: f32[32,8] = random ${l + 7}`).join('\n')}
    %kept: f32[1,4,1] = Sigmoid(%mask)
    %x0: f32[1,4,8] = Neg(%x)
    ${[0, 1, 2]
      .map(
        (l) => `%h${l}: f32[1,4,8] = LayerNormalization(%x${l}, %g, %b)
    %p${l}: f32[1,4,32] = MatMul(%h${l}, %v${l})
    %r${l}: f32[1,4,32] = Relu(%p${l})
    %o${l}: f32[1,4,8] = MatMul(%r${l}, %w${l})
    %m${l}: f32[1,4,8] = Mul(%o${l}, %kept)
    %x${l + 1}: f32[1,4,8] = Add(%x${l}, %m${l})`,
      )
      .join('\n')}
    %y: f32[1,4,8] = Relu(%x3)
    return %y
  }`);
const feeds: Feeds = { x: randomFeed([1, 4, 8], 1), mask: randomFeed([1, 4, 1], 2) };

/** Doubles a value where it is made, under its name, and halves it again for each reader. */
function double(graph: Graph, value: Value): void {
  const scaled = (by: number, source: Value): Node =>
    new Node({
      op: 'Mul',
      inputs: [source, graph.addConstant(graph.freshName('k'), scalar(by))],
      results: [{ name: graph.freshName(value.name), type: value.type }],
    });
  const twice = graph.insertAfter(value.producer!, scaled(2, value));
  graph.replace(value, twice.output);
  graph.setInput(twice, 0, value);
  const half = graph.insertAfter(twice, scaled(0.5, twice.output));
  graph.replaceUses(twice.output, half.output, half);
}

describe('blocks', () => {
  test.each(fixtureNames)('of %s hold every node once and behind what it reads, however small they may be', (name) => {
    const graph = openFixture(name);
    const sorted = (nodes: readonly Node[]) => nodes.map((n) => n.output.name).toSorted();
    for (const least of [0, 1, 10_000, 100_000, 10 ** 9]) {
      const seen = new Set(graph.inputs);
      for (const node of nodesOf(blocks(graph, least))) {
        expect(readsOf(node).every((v) => v.constant !== null || seen.has(v))).toBe(true);
        for (const out of node.outputs) seen.add(out);
      }
      expect(sorted(nodesOf(blocks(graph, least)))).toEqual(sorted([...graph.nodes]));
    }
    expect(blocks(graph, 10 ** 9)).toHaveLength(1);
    expect(blocks(graph, 1).length).toBeGreaterThan(3);
  });
  test('end where only the residual stream and what all layers read are alive', () => {
    const parts = blocks(layers(), 1);
    expect(parts.map(crossing)).toEqual([[], ['x1', 'kept'], ['x2', 'kept']]);
    expect(parts.map((p) => p.bytes)).toEqual([0, 1, 2].map(() => 2 * 8 * 32 * 4 + 2 * 8 * 4));
  });
  test('keep what depends on constants alone with its first reader', () => {
    const graph = layers();
    const turned = Builder.before(graph.first!).value('Transpose', [valueNamed(graph, 'v2')], { perm: ints([1, 0]) });
    const back = Builder.before(valueNamed(graph, 'p2').producer!).value('Transpose', [turned], { perm: ints([1, 0]) });
    graph.setInput(valueNamed(graph, 'p2').producer!, 1, back);
    expect(blocks(graph, 1).map(crossing)).toEqual([[], ['x1', 'kept'], ['x2', 'kept']]);
  });
  test('of a raised model end between the halves of its layers', async () => {
    const graph = openFixture('opt-tiny-op13');
    await runPipeline(executor, graph, 'raise,fold-constants', {});
    for (const part of blocks(graph, 1).slice(1)) expect(crossing(part).length).toBeLessThanOrEqual(2);
    expect(blocks(graph, 1).length).toBeGreaterThanOrEqual(5);
  });
  test('do not part a site from what it quantizes, or from what reads it', async () => {
    for (const name of fixtureNames) {
      const graph = openFixture(name);
      await runPipeline(executor, graph, 'raise,mark-sites{scheme=rptq-w4a4},observe', {});
      const home = new Map(blocks(graph, 1).flatMap((part, k) => part.nodes.map((n) => [n, k] as const)));
      for (const { node } of sites(graph)) {
        const readers = [...node.output.uses].map((u) => u.node);
        const maker = node.input(0)!.producer!.input(0)?.producer;
        expect(new Set([node, ...readers, ...(maker ? [maker] : [])].map((n) => home.get(n))).size).toBe(1);
      }
    }
  });
  test('of a graph that cannot be cut are one', () => {
    const graph = parseGraph('graph @g(%x: f32[2]) { %a: f32[2] = Relu(%x) %b: f32[2] = Neg(%a) %y: f32[2] = Abs(%b) return %y }');
    expect(blocks(graph, 0)).toHaveLength(1);
    expect(nodesOf(blocks(new Graph('g'), 1))).toEqual([]);
  });
});

describe('a chain of blocks gives what the whole graph gives, bit by bit', () => {
  test.each(fixtureNames)('%s', async (name) => {
    const graph = openFixture(name);
    inferTypes(graph);
    const data = fixtureData(name).feeds;
    const whole = await runOnce(executor, graph, data);
    const parts = blocks(graph, 60_000);
    expect(parts.length).toBeGreaterThan(1);
    let alive: Feeds = data;
    for (const part of parts) {
      const { graph: own } = extract('block', part);
      if (own.outputs.length === 0) continue;
      alive = { ...alive, ...(await runOnce(executor, own, Object.fromEntries(own.inputs.map((v) => [v.name, alive[v.name]!])))) };
    }
    expect(alive).toMatchObject(whole);
    const reference = await referenceOf(graph, data, sweepContext(executor), 60_000);
    expect(await reference.values(graph.outputs.map((v) => v.name))).toEqual(whole);
    await reference.close();
    const program = await runToLast(graph, [data, data], sweepContext(executor), 60_000);
    for (const sample of [0, 1]) expect(await program.run(sample)).toEqual(whole);
    await program.close();
  });
  test('outputs that blocks before the last one make, and inputs and constants that are outputs', async () => {
    const graph = layers();
    graph.setOutputs([...graph.outputs, valueNamed(graph, 'x1'), valueNamed(graph, 'mask'), valueNamed(graph, 'g')]);
    const whole = await runOnce(executor, graph, feeds);
    expect(blocks(graph, 1)).toHaveLength(blocks(layers(), 1).length);
    const program = await runToLast(graph, [feeds], sweepContext(executor), 1);
    expect(await program.run(0)).toEqual(whole);
    await program.close();
  });
});

describe('a comparison with a reference', () => {
  /** Compares, and says which parts ran. */
  async function compared(reference: Reference, graph: Graph) {
    const ran: string[][] = [];
    const counting = {
      load: (g: Graph) => {
        ran.push(g.outputs.map((v) => v.name));
        return executor.load(g);
      },
    };
    const found = await compare(reference, graph, sweepContext(executor), { tolerance: 1e-4, executor: counting });
    return { ran, ...found };
  }
  const referenced = (graph: Graph) => referenceOf(graph, feeds, sweepContext(executor), 1);

  test('runs nothing of a graph that is the same, or has markers more', async () => {
    const graph = layers();
    const reference = await referenced(graph);
    expect(await compared(reference, graph)).toMatchObject({ ran: [], worst: 0, divergence: null });
    await runPipeline(executor, graph, 'mark-sites,observe', { facts: ['raised'] });
    expect(await compared(reference, graph)).toMatchObject({ ran: [], worst: 0, divergence: null });
  });
  test('runs the block that has changed, and no other', async () => {
    const graph = layers();
    const reference = await referenced(graph);
    await runPipeline(executor, graph, 'mark-sites,observe', { facts: ['raised'] });
    const site = sites(graph).find((s) => s.key === 'h1')!;
    changeBasis(graph, site, permutation([7, 6, 5, 4, 3, 2, 1, 0]));
    const found = await compared(reference, graph);
    expect(found.ran).toEqual([expect.arrayContaining(['x2'])]);
    expect(found.divergence).toBeNull();
    expect(found.cuts).toEqual(reference.cuts);
  });
  test('goes on where the values at a cut are in another basis, and does not trust that cut again', async () => {
    const graph = layers();
    const reference = await referenced(graph);
    double(graph, valueNamed(graph, 'x1'));
    const found = await compared(reference, graph);
    expect([found.divergence, found.worst < 1e-6]).toEqual([null, true]);
    expect(found.cuts.flatMap((c) => c.crossing)).not.toContain('x1');
    expect(found.ran).toHaveLength(2);
  });
  test('tells from which part on two graphs disagree for good', async () => {
    const graph = layers();
    const reference = await referenced(graph);
    const weight = valueNamed(graph, 'w1');
    graph.replaceUses(weight, graph.addConstant('other', valueNamed(graph, 'w2').constant!));
    const { divergence } = await compared(reference, graph);
    expect(divergence!.difference).toBeGreaterThan(1e-2);
    expect([...divergence!.after.nodes].map((n) => n.output.name)).toEqual(expect.arrayContaining(['x2', 'y']));
    expect([...divergence!.after.nodes].map((n) => n.output.name)).not.toContain('x1');
  });
  test('is what the contract of a pass is checked by, pass after pass', async () => {
    const graph = layers();
    const contract = await contractOn(executor, graph, feeds);
    const scale = definePass({
      name: 'scale',
      summary: 'a test',
      contract: 'exact',
      run: (g) => void changeBasis(g, sites(g)[0]!, standardize([1, 2, 3, 4, 5, 6, 7, 8], [2, 2, 2, 2, 2, 2, 2, 2])),
    });
    await runPipeline(executor, graph, 'mark-sites,observe,scale,fold-channels,dead-code', { facts: ['raised'], contract, more: [scale] });
    expect(contract.worst).toBeGreaterThan(0);
    expect(contract.worst).toBeLessThan(1e-5);
    await contract.close();
  });
});
