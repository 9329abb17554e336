import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  admits,
  Builder,
  changeBasis,
  compose,
  Decode,
  inverse,
  parseGraph,
  permAt,
  permutation,
  scaleAt,
  shiftAt,
  sites,
  standardize,
  transformAttributes,
  translation,
  type ChannelTransform,
  type Graph,
  type Node,
} from '../../ir/index.ts';
import { largestDifference, movedCaches, recordOf, runOnce, type Feeds, type HostTensor } from '../../passes/index.ts';
import { contractOn, opsOf, plainExecutor, randomFeed, runPipeline } from '../support/run.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

interface Form {
  readonly past?: string;
  /** Nodes behind the attention. */
  readonly more?: string;
  readonly outputs?: string;
  /** What key and value are. */
  readonly key?: string;
}

/** Two query heads and two key heads of two channels, behind sites, with caches. */
const cached = ({ past = 'P', more = '', outputs = '%y, %nk, %nv', key = '%k_1' }: Form = {}): Graph =>
  parseGraph(`graph @cached(%x: f32[1,2,4], %e: f32[1,2,4], %pk: f32[1,2,${past},2], %pv: f32[1,2,${past},2]) {
    const %wq: f32[4,4] = random 1
    const %wk: f32[4,4] = random 2
    const %wv: f32[4,4] = random 3
    const %bk: f32[4] = random 4
    const %bv: f32[4] = random 5
    const %wo: f32[4,3] = random 6
    %q_1: f32[1,2,4] = MatMul(%x, %wq)
    %q: f32[1,2,4] = qc.Site(%q_1) {key = "q", role = "query"}
    %k_0: f32[1,2,4] = MatMul(%x, %wk)
    %k_1: f32[1,2,4] = Add(%k_0, %bk)
    %k: f32[1,2,4] = qc.Site(${key}) {key = "k", role = "key"}
    %v_0: f32[1,2,4] = MatMul(%x, %wv)
    %v_1: f32[1,2,4] = Add(%v_0, %bv)
    %v: f32[1,2,4] = qc.Site(%v_1) {key = "v", role = "value"}
    %c_1: f32[1,2,4], %nk: f32[1,2,N,2], %nv: f32[1,2,N,2] = Attention(%q, %k, %v, _, %pk, %pv) {q_num_heads = 2, kv_num_heads = 2}
    %c: f32[1,2,4] = qc.Site(%c_1) {key = "c", role = "linear"}
    %y: f32[1,2,3] = MatMul(%c, %wo)
    ${more}
    return ${outputs} }`);

const feeds = (past: number): Feeds => ({
  x: randomFeed([1, 2, 4], 7),
  e: randomFeed([1, 2, 4], 8),
  pk: randomFeed([1, 2, past, 2], 9),
  pv: randomFeed([1, 2, past, 2], 10),
});

const order = permutation([1, 0, 3, 2]);
const scale = (...by: readonly number[]): ChannelTransform => standardize([0, 0, 0, 0], by);
const maps: Readonly<Record<string, ChannelTransform>> = {
  q: compose(order, scale(0.5, 4, 2, 0.25)),
  k: compose(compose(order, scale(2, 0.25, 0.5, 4)), translation([1, 2, 3, 4])),
  v: compose(compose(order, scale(2, 3, 4, 5)), translation([1, -2, 3, -4])),
};

/** Changes the bases of all sites; that of the result follows the one of the values. */
function moved(graph: Graph, of: Readonly<Record<string, ChannelTransform>>): Graph {
  for (const site of sites(graph)) changeBasis(graph, site, of[site.key === 'c' ? 'v' : site.key]!);
  return graph;
}

describe('keys and values in another basis', () => {
  test.each([0, 1, 5])('behind %i tokens in the caches, the graph computes what it did', async (past) => {
    const [before, after] = [cached(), cached()];
    await runPipeline(executor, after, 'open-caches', { facts: ['raised'] });
    moved(after, maps);
    const check = await contractOn(executor, before, feeds(past));
    await runPipeline(executor, after, 'fold-channels', { contract: check });
    expect(opsOf(after).filter((op) => op === 'qc.Encode' || op === 'qc.Decode')).toEqual([]);
    expect(opsOf(after).filter((op) => op === 'qc.CacheBasis')).toHaveLength(4);
    expect(largestDifference(await runOnce(executor, before, feeds(past)), await runOnce(executor, after, feeds(past)))).toBeLessThan(1e-5);
    expect(check.worst).toBeLessThan(1e-5);
    await check.close();
  });
});

/** What each of some steps gives, the caches empty at first and carried from step to step. */
async function steps(graph: Graph, count: number): Promise<readonly Feeds[]> {
  const program = await executor.load(graph);
  const found: Feeds[] = [];
  for (let k = 0; k < count; k++) {
    const { nk: pk, nv: pv } = found.at(-1) ?? { nk: feeds(0)['pk'], nv: feeds(0)['pv'] };
    found.push(await program.run({ x: randomFeed([1, 2, 4], 20 + k), e: feeds(0)['e']!, pk: pk!, pv: pv! }));
  }
  await program.close();
  return found;
}

describe('caches that are closed', () => {
  const pipeline = 'fold-channels,close-caches';
  test('hold the tokens in the basis that the metadata tells, and step by step the model gives what it did', async () => {
    const [before, after] = [cached(), cached()];
    await runPipeline(executor, after, 'open-caches', { facts: ['raised'] });
    await runPipeline(executor, moved(after, maps), pipeline);
    expect(opsOf(after)).not.toContain('qc.CacheBasis');
    const records = movedCaches(after.metadata);
    expect(records.map(({ past, present }) => [past, present])).toEqual([
      ['pk', 'nk'],
      ['pv', 'nv'],
    ]);
    expect(records.map(({ transform }) => transform)).toEqual([maps['k'], maps['v']]);
    const [wanted, found] = [await steps(before, 4), await steps(after, 4)];
    for (const [k, { y, nk, nv }] of wanted.entries()) {
      expect(largestDifference({ y: y! }, { y: found[k]!['y']! })).toBeLessThan(1e-5);
      const inBasis = { nk: cacheIn(nk!, maps['k']!), nv: cacheIn(nv!, maps['v']!) };
      expect(largestDifference(inBasis, { nk: found[k]!['nk']!, nv: found[k]!['nv']! })).toBeLessThan(1e-5);
    }
  });
  test('are as they were where nothing changed, and metadata says nothing', async () => {
    const graph = cached();
    await runPipeline(executor, graph, `open-caches,${pipeline}`, { facts: ['raised'] });
    expect([opsOf(graph), movedCaches(graph.metadata)]).toEqual([opsOf(cached()), []]);
  });
});

/** A cache [1, 2, seq, 2] with every token under a map. */
function cacheIn({ dtype, shape, data }: HostTensor, t: ChannelTransform): HostTensor {
  const seq = shape[2]!;
  const at = (i: number, token: number): number => (Math.floor(i / 2) * seq + token) * 2 + (i % 2);
  const out = new Float32Array(data.length);
  for (let token = 0; token < seq; token++)
    for (let i = 0; i < 4; i++) out[at(i, token)] = Number(data[at(permAt(t, i), token)]) * scaleAt(t, i) + shiftAt(t, i);
  return { dtype, shape, data: out };
}

describe('caches that stay as they are', () => {
  const refused: Readonly<Record<string, readonly [Form, RegExp]>> = {
    'something else reads it': [{ more: '%z: f32[1,2,P,2] = Neg(%pk)', outputs: '%y, %nk, %nv, %z' }, /^something else reads the cache$/],
    'something else reads the next one': [
      { more: '%z: f32[1,2,N,2] = Neg(%nk)', outputs: '%y, %nk, %nv, %z' },
      /^something else reads the next cache$/,
    ],
    'the next one is not given out': [{ outputs: '%y, %nk' }, /^the next cache is no output of the graph$/],
    'keys come in beside it': [{ key: '%e' }, /so another model fills its caches$/],
  };
  test.each(Object.entries(refused))('%s', async (_, [form, why]) => {
    const graph = cached(form);
    const { ledger } = await runPipeline(executor, graph, 'open-caches', { facts: ['raised'] });
    expect(opsOf(graph)).not.toContain('qc.CacheBasis');
    expect(ledger.refused).toEqual([expect.objectContaining({ rule: 'open-caches', op: 'Attention', why: expect.stringMatching(why) })]);
    const attention = [...graph.nodes].find((n) => n.op === 'Attention')!;
    expect(recordOf(attention).up!.freedom(attention, 4, 0)).toBeNull();
  });
});

describe('what an attention with open caches admits', () => {
  const part = fc.array(fc.constantFrom(0.5, 1, 2, -4), { minLength: 4, maxLength: 4 });
  const shift = fc.option(fc.array(fc.constantFrom(-1, 0, 2), { minLength: 4, maxLength: 4 }), { nil: null });
  const orders = [
    [0, 1, 2, 3],
    [1, 0, 3, 2],
    [2, 3, 0, 1],
    [0, 2, 1, 3],
  ].map(permutation);
  const drawn = fc
    .tuple(fc.constantFrom(...orders), part, shift)
    .map(([t, s, b]) => compose(compose(t, standardize([0, 0, 0, 0], s)), translation(b ?? [0, 0, 0, 0])));
  const attentionIn = (graph: Graph): Node => [...graph.nodes].find((n) => n.op === 'Attention')!;
  const worst = async (t: ChannelTransform, past: string): Promise<{ readonly admitted: boolean; readonly difference: number }> => {
    const [before, graph] = [cached({ past }), cached({ past })];
    await runPipeline(executor, graph, 'open-caches', { facts: ['raised'] });
    const attention = attentionIn(graph);
    const { up } = recordOf(attention);
    const admitted = admits(up!.freedom(attention, 4, 0)!, t);
    // By force, as the rule for what it admits does it: T on the values and in the cache, its inverse on the result.
    up!.absorb(graph, attention, t, 0);
    const c = attention.output;
    const back = Builder.behind(graph, c).make(Decode, { x: c }, { attributes: transformAttributes(inverse(t)), like: c });
    graph.replaceUses(c, back.y, back.node);
    return { admitted, difference: largestDifference(await runOnce(executor, before, feeds(3)), await runOnce(executor, graph, feeds(3))) };
  };
  test('of values keeps the function, and what it refuses breaks it', async () => {
    const seen = { admitted: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(drawn, async (t) => {
        const { admitted, difference } = await worst(t, 'P');
        seen[admitted ? 'admitted' : 'refused']++;
        if (admitted) expect(difference).toBeLessThan(1e-5);
        else expect(difference).toBeGreaterThan(1e-3);
      }),
      { numRuns: 20 },
    );
    expect(Math.min(seen.admitted, seen.refused)).toBeGreaterThan(3);
  });
  test('is no shift where some tokens of a cache are filled by nobody', async () => {
    const freedomOf = async (past: string) => {
      const graph = cached({ past });
      await runPipeline(executor, graph, 'open-caches', { facts: ['raised'] });
      const { up, down } = recordOf(attentionIn(graph));
      return [up!.freedom(attentionIn(graph), 4, 0)!.can, down!.freedom(attentionIn(graph), 1, 4)!.can];
    };
    const can = (shift: boolean) => ({ perm: true, scale: true, shift });
    expect(await freedomOf('P')).toEqual([can(true), can(true)]);
    expect(await freedomOf('8')).toEqual([can(false), can(false)]);
  });
});
