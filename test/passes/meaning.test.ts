import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  cloneGraph,
  Decode,
  Encode,
  factor,
  identity,
  Node,
  Observer,
  observerOf,
  parseGraph,
  permAt,
  sites,
  type Graph,
  type Site,
} from '../../ir/index.ts';
import { viewAs } from '../../ir/ops/view.ts';
import {
  binCentre,
  binOf,
  collect,
  definePass,
  largestDifference,
  reductions,
  runOnce,
  statisticsAt,
  statisticsOf,
  type Feeds,
  type PassReport,
  type Reduction,
  type Statistics,
} from '../../passes/index.ts';
import {
  elements,
  f32,
  fixtureSamples,
  fusingExecutor,
  openFixture,
  plainExecutor,
  randomFeed,
  runPipeline,
  valueNamed,
  contractOn,
  passContext,
} from '../support/run.ts';
import { maskedSamples, subject, subjects, textSubjects } from './zoo.ts';

const executor = fusingExecutor();
// Does what the graph says and nothing else, so that cutting a graph changes no rounding.
const plain = plainExecutor();
afterAll(() => Promise.all([executor.close(), plain.close()]));

const opening = 'raise,fold-constants,tie-weights';
const marking = (scheme = 'w8a8'): string => `${opening},mark-sites{scheme=${scheme}},observe`;
const transforms = {
  raise: opening,
  'mark-sites': marking('rptq-w4a4'),
  calibrate: `${marking('rptq-w4a4')},calibrate`,
  'os+': `${marking()},calibrate,os+{threshold=1.5},fold-channels`,
  rptq: `${marking('rptq-w4a4')},calibrate,rptq{r1=4 r2=2 r3=2 r4=4 r5=4},fold-channels`,
  'os+, then rptq': `${marking('rptq-w4a4')},calibrate,os+{threshold=1.5},fold-channels,rptq{r1=4 r2=2 r3=2 r4=4 r5=4},fold-channels,dead-code`,
  equalize: `${marking()},calibrate,equalize{alpha=0.5},fold-channels`,
  'equalize, as its search finds': `${marking('w4a8')},calibrate,equalize{scheme=w4a8 tokens=8},fold-channels`,
  smooth: `${marking()},calibrate,smooth{alpha=0.5},fold-channels`,
  awq: `${marking('w4a16')},calibrate,awq{scheme=w4a16 alpha=0.5},fold-channels`,
  'rptq, then equalize': `${marking()},calibrate,rptq{r1=4 r3=2 r4=4 r5=4},fold-channels,equalize{alpha=0.5},fold-channels,dead-code`,
  'equalize, then rptq': `${marking()},calibrate,equalize{alpha=0.5},fold-channels,rptq{r1=4 r3=2 r4=4 r5=4},fold-channels,dead-code`,
  'os+, then smooth': `${marking()},calibrate,os+{threshold=1.5},fold-channels,smooth{alpha=0.5},fold-channels,dead-code`,
  'rptq, then os+': `${marking('rptq-w4a4')},calibrate,rptq{r1=4 r2=2 r3=2 r4=4 r5=4},fold-channels,os+{threshold=1.5},fold-channels,dead-code`,
} as const;

/** What calibration gives of a subject; many transforms go on from there, each on a copy. */
const calibrated = new Map<string, Promise<Graph>>();
const behindCalibrate = ',calibrate,';

/** Has calibration see what any of the transforms reads. */
const look = definePass({
  name: 'look',
  summary: 'a test',
  contract: 'exact',
  observes: [reductions.range, reductions.average, reductions.rms, reductions.meanAbs],
  run() {},
});

async function run(name: string, pipeline: string): Promise<Graph> {
  const { open, samples } = subject(name);
  const graph = open();
  await runPipeline(executor, graph, pipeline, { samples, more: [look] });
  return graph;
}

async function transformed(name: string, pipeline: string): Promise<Graph> {
  const [before, after] = pipeline.split(behindCalibrate);
  if (after === undefined) return run(name, pipeline);
  const key = `${name}: ${before}`;
  if (!calibrated.has(key)) calibrated.set(key, run(name, `${before},calibrate,look`));
  const graph = cloneGraph(await calibrated.get(key)!);
  await runPipeline(executor, graph, after, {
    samples: subject(name).samples,
    facts: ['raised', 'sites', 'observed', 'calibrated', 'folded'],
  });
  return graph;
}

/** Smallest and largest value of every channel of a value, over all samples, by running the graph and plain arithmetic. */
async function measured(
  graph: Graph,
  names: readonly string[],
  samples: readonly Feeds[],
): Promise<ReadonlyMap<string, { readonly min: number[]; readonly max: number[] }>> {
  const copy = cloneGraph(graph);
  copy.setOutputs(names.map((n) => valueNamed(copy, n)));
  const ranges = new Map(names.map((n) => [n, { min: [] as number[], max: [] as number[] }]));
  const program = await executor.load(copy);
  for (const sample of samples) {
    const out = await program.run(sample);
    const mask = sample['attention_mask'];
    for (const n of names) {
      const { shape } = out[n]!;
      const channels = shape.at(-1)!;
      const range = ranges.get(n)!;
      const all = elements(out, n);
      all.forEach((x, i) => {
        const [token, c] = [Math.floor(i / channels), i % channels];
        if (mask && mask.data.length * channels === all.length && Number(mask.data[token]) === 0) return;
        range.min[c] = Math.min(range.min[c] ?? Infinity, x);
        range.max[c] = Math.max(range.max[c] ?? -Infinity, x);
      });
    }
  }
  await program.close();
  return ranges;
}

const transformsLeft = (graph: Graph): readonly Node[] => [...graph.nodes].filter((n) => viewAs(Encode, n) ?? viewAs(Decode, n));
const siteRanges = (graph: Graph): ReadonlyMap<string, Statistics['range']> =>
  new Map(sites(graph).map((s) => [s.key, statisticsAt(s)!.range]));
function expectClose(a: ArrayLike<number>, b: ArrayLike<number>, tolerance = 1e-3): void {
  expect(a.length).toBe(b.length);
  const size = Math.max(...Array.from(b, Math.abs), 1e-6);
  for (let i = 0; i < a.length; i++) expect(Math.abs(a[i]! - b[i]!)).toBeLessThanOrEqual(tolerance * size);
}

describe('a transform keeps what the model computes', () => {
  describe.each(subjects)('$name', ({ name, open, samples }) => {
    const outputs = async (graph: Graph): Promise<readonly Feeds[]> => {
      const program = await executor.load(graph);
      try {
        const found: Feeds[] = [];
        for (const sample of samples) found.push(await program.run(sample));
        return found;
      } finally {
        await program.close();
      }
    };
    let before: readonly Feeds[] = [];
    beforeAll(async () => {
      before = await outputs(open());
    });
    test.each(Object.entries(transforms))('%s', async (_, pipeline) => {
      const after = await outputs(await transformed(name, pipeline));
      for (const [i, found] of after.entries()) expect(largestDifference(before[i]!, found)).toBeLessThan(1e-4);
      expect(after).toHaveLength(samples.length);
    });
  });
});

/** Fails unless the passes changed the graph and counted something: what an equivalence test cannot see. */
function expectEffect(reports: readonly PassReport[], statistic: string): void {
  const seen = reports.map((r) => [r.call.name, r.changed, r.counts.get(statistic) ?? 0] as const);
  if (!seen.some(([, changed, count]) => changed && count > 0))
    throw new Error(
      `no pass had an effect: ${seen.map(([n, changed]) => `${n} ${changed ? 'changed the graph' : 'changed nothing'}`).join(', ')}`,
    );
}

describe('ranges at the sites are what the moved statistics say, and not what they were', () => {
  const changing = Object.entries(transforms).filter(([name]) => /os\+|rptq|smooth|awq|^equalize$/.test(name));
  describe.each([...textSubjects.map((s) => s.name), 'bert-tiny-op17', 'opt-tiny-op13'])('%s', (name) => {
    test.each(changing)('%s', async (_, pipeline) => {
      const { samples } = subject(name);
      const was = siteRanges(await transformed(name, pipeline.slice(0, pipeline.indexOf('calibrate') + 'calibrate'.length)));
      const graph = await transformed(name, pipeline);
      const all = sites(graph);
      const now = await measured(
        graph,
        all.map((s) => s.x.name),
        samples,
      );
      let moved = 0;
      for (const site of all) {
        const predicted = statisticsAt(site)!.range;
        const real = now.get(site.x.name)!;
        expectClose(real.min, predicted.min);
        expectClose(real.max, predicted.max);
        const before = was.get(site.key)!;
        if (!before.max.every((x, i) => x === predicted.max[i]) || !before.min.every((x, i) => x === predicted.min[i])) moved++;
      }
      // Sites of the roles that the method handles, at least: norms for OS+, nearly all for RPTQ.
      expect(moved).toBeGreaterThanOrEqual(all.filter((s) => s.role === 'norm').length);
    });
  });
});

describe('after os+', () => {
  test.each(['pre-LN block', 'post-LN block', 'block with shared key heads', 'bert-tiny-op17', 'opt-tiny-op13'])(
    'every channel behind a norm of %s is centred and within the threshold',
    async (name) => {
      const graph = await transformed(name, transforms['os+']);
      const norms = sites(graph).filter((s) => s.role === 'norm');
      expect(norms.length).toBeGreaterThan(1);
      const real = await measured(
        graph,
        norms.map((s) => s.x.name),
        subject(name).samples,
      );
      for (const site of norms) {
        const { min, max } = real.get(site.x.name)!;
        max.forEach((hi, c) => {
          expect(Math.abs(hi + min[c]!)).toBeLessThan(2e-4 * (1 + Math.abs(hi)));
          expect(hi).toBeLessThanOrEqual(1.5 * (1 + 1e-4));
        });
        // And the widest reach it.
        expect(Math.max(...max)).toBeGreaterThan(1.49);
      }
    },
  );
  test('nothing is left at run time, but for one Decode on each shortcut of a post-LN model', async () => {
    expect(transformsLeft(await transformed('pre-LN block', transforms['os+']))).toEqual([]);
    expect(transformsLeft(await transformed('opt-tiny-op13', transforms['os+']))).toEqual([]);
    const post = transformsLeft(await transformed('post-LN block', transforms['os+']));
    expect(post.map((n) => [n.op, n.input(0)!.producer!.op, n.output.soleUse?.node.op])).toEqual(
      [1, 2].map(() => ['qc.Decode', 'LayerNormalization', 'Add']),
    );
  });
});

describe('after rptq', () => {
  test.each(['pre-LN block', 'post-LN block', 'mlp with relu', 'bert-tiny-op17', 'opt-tiny-op13'])(
    'the groups of every site of %s part its channels, from narrow to wide',
    async (name) => {
      const graph = await transformed(name, transforms.rptq);
      const clustered = sites(graph).filter((s) => s.groups !== null);
      // The zoo ends in a linear that reads the residual sum, which no order enters.
      const alone = sites(graph).filter((s) => s.groups === null);
      expect(alone.map((s) => s.role)).toEqual(name.includes('tiny') ? [] : ['linear']);
      for (const site of clustered) {
        const { min, max } = statisticsAt(site)!.range;
        expect(site.groups!.reduce((a, b) => a + b)).toBe(max.length);
        expect(Math.min(...site.groups!)).toBeGreaterThan(0);
        if (site.role === 'norm') {
          let at = 0;
          const widths = site.groups!.map((n) => Math.max(...Array.from({ length: n }, () => max[at]! - Math.min(min[at++]!, Infinity))));
          expect(widths).toEqual([...widths].sort((a, b) => a - b));
        }
      }
    },
  );
  test('orders stay in their heads, one for query and key, one for value and result, and all of them end in the weights', async () => {
    const before = await transformed('pre-LN block', transforms.calibrate);
    const after = await transformed('pre-LN block', transforms.rptq.replace(',fold-channels', ''));
    const orders = new Map(sites(after).map((s) => [s.role + s.key, orderAt(s)]));
    const at = (key: string): readonly number[] => [...orders].find(([k]) => k.endsWith(key))![1];
    expect(at('queryq')).toEqual(at('keyk'));
    expect(at('valuev')).toEqual(at('linearc'));
    for (const key of ['queryq', 'valuev']) {
      at(key).forEach((from, to) => expect(Math.floor(from / 4)).toBe(Math.floor(to / 4)));
      expect(at(key)).not.toEqual(at(key).map((_, i) => i));
    }
    // The statistics of a site are those it had, in its new order.
    for (const site of sites(after))
      expectClose(
        statisticsAt(site)!.range.max,
        orderAt(site).map((i) => siteRanges(before).get(site.key)!.max[i]!),
        0,
      );
    const folded = await transformed('pre-LN block', transforms.rptq);
    expect(transformsLeft(folded).map((n) => [n.op, n.input(0)!.producer!.op])).toEqual(
      [1, 2].map(() => ['qc.Encode', 'LayerNormalization']),
    );
    for (const n of transformsLeft(folded))
      expect(factor(new Encode(n).transform, { perm: true, scale: false, shift: false }).stays).toEqual(identity(16));
  });
  test('twice gives the same bytes, another seed perhaps others, and one cluster changes nothing', async () => {
    const rptqWith = (options: string): Promise<Graph> => transformed('pre-LN block', `${marking('rptq-w4a4')},calibrate,rptq{${options}}`);
    const orders = (g: Graph): unknown => sites(g).map((s) => [s.groups, orderAt(s)]);
    expect(orders(await rptqWith('r1=4'))).toEqual(orders(await rptqWith('r1=4')));
    expect(transformsLeft(await rptqWith('r1=1 r2=1 r3=1 r4=1 r5=1'))).toEqual([]);
  });
});

/** The order of the Encode in front of a site's observer. */
function orderAt(site: Site): readonly number[] {
  const encode = viewAs(Encode, observerOf(site)!.x.producer);
  const size = statisticsAt(site)!.range.max.length;
  return Array.from({ length: size }, (_, i) => (encode ? permAt(encode.transform, i) : i));
}

const context = (samples: readonly Feeds[]) => passContext(plain, samples, 'attention_mask');

type BySite = ReadonlyMap<string, Statistics>;

/** What calibration sees, by site. */
const seenBy = async (graph: Graph, samples: readonly Feeds[], least?: number): Promise<BySite> =>
  new Map([...(await collect(graph, context(samples), least))].map(([key, seen]) => [key, statisticsOf(seen)!] as const));

/** All that is known at each site. */
const valuesOf = (sitesSeen: BySite): unknown =>
  [...sitesSeen].map(([key, s]) => [key, s.samples, s.tokens, ...Object.values(reductions).map((r: Reduction<unknown>) => s.get(r))]);

/** A graph that observes its input, whose padding is wild. */
const observed = (): Graph =>
  parseGraph(`graph @observed(%x: f32[B,S,3], %attention_mask: i64[B,S]) {
    const %w: f32[3,2] = random 1
    %o: f32[B,S,3] = qc.Observer(%x) {key = "x"}
    %s: f32[B,S,3] = qc.Site(%o) {key = "x", role = "linear"}
    %y: f32[B,S,2] = MatMul(%s, %w)
    %kept: f32[B,S] = Cast(%attention_mask) {to = 1}
    %n: f32[] = ReduceSum(%kept) {keepdims = 0}
    return %y, %n
  }`);
const mask = (...kept: readonly number[]): Feeds[string] => ({
  dtype: 'i64',
  shape: [1, kept.length],
  data: BigInt64Array.from(kept, BigInt),
});

describe('calibration', () => {
  test('gives what plain arithmetic over the activations gives: extremes, moving average, token extremes, counts', async () => {
    const samples = [1, 2, 3, 4].map((s) => ({
      x: f32(
        [1, 5, 3],
        Array.from({ length: 15 }, (_, i) => Math.sin(i * 1.3 + s) * (i % 3 === 1 ? 20 : 1)),
      ),
      attention_mask: mask(1, 1, 1, 1, 1),
    }));
    const s = (await seenBy(observed(), samples)).get('x')!;
    const perSample = samples.map(({ x }) => [0, 1, 2].map((c) => Array.from(x.data as Float32Array).filter((_, i) => i % 3 === c)));
    const fold = (f: (...v: number[]) => number) => perSample.map((channels) => channels.map((v) => f(...v)));
    const weights = [3, 2, 1, 0].map((age) => 0.99 ** age);
    const average = (rows: readonly (readonly number[])[]) =>
      [0, 1, 2].map((c) => rows.reduce((sum, r, i) => sum + weights[i]! * r[c]!, 0) / weights.reduce((a, b) => a + b));
    expect([s.samples, s.tokens]).toEqual([4, 20]);
    expectClose(
      s.range.min,
      [0, 1, 2].map((c) => Math.min(...fold(Math.min).map((r) => r[c]!))),
      0,
    );
    expectClose(
      s.range.max,
      [0, 1, 2].map((c) => Math.max(...fold(Math.max).map((r) => r[c]!))),
      0,
    );
    expectClose(s.get(reductions.average)!.min, average(fold(Math.min)), 1e-6);
    expectClose(s.get(reductions.average)!.max, average(fold(Math.max)), 1e-6);
    const counts = new Map<number, number>();
    for (const { x } of samples)
      for (let t = 0; t < 5; t++) {
        const bin = binOf(Math.max(...(x.data as Float32Array).slice(t * 3, t * 3 + 3)));
        counts.set(bin, (counts.get(bin) ?? 0) + 1);
      }
    expect(new Map([...s.get(reductions.tokenRange)!.max].sort())).toEqual(new Map([...counts].sort()));
    for (const bin of counts.keys()) expect(Math.abs(binCentre(bin))).toBeLessThan(25);
  });
  test('never lets padding in: a padded sample gives what the bare one gives', async () => {
    const bare = [
      { x: f32([1, 2, 3], [1, -2, 3, 4, 5, -6]), attention_mask: mask(1, 1) },
      { x: f32([1, 1, 3], [0.5, 7, 1]), attention_mask: mask(1) },
    ];
    const padded = [
      { x: f32([1, 3, 3], [1, -2, 3, 4, 5, -6, 1000, NaN, -1000]), attention_mask: mask(1, 1, 0) },
      { x: f32([1, 3, 3], [Infinity, 500, -500, 0.5, 7, 1, -999, 999, 0]), attention_mask: mask(0, 1, 0) },
    ];
    expect(valuesOf(await seenBy(observed(), padded))).toEqual(valuesOf(await seenBy(observed(), bare)));
  });
  test('keeps apart the sites of a value that is read as key and as value', async () => {
    const graph = parseGraph(`graph @shared(%x: f32[B,S,4], %q: f32[B,S,4]) {
      %c: f32[B,S,4] = Attention(%q, %x, %x) {q_num_heads = 2, kv_num_heads = 2}
      return %c
    }`);
    const feeds = { x: randomFeed([1, 3, 4], 1), q: randomFeed([1, 3, 4], 2) };
    await runPipeline(
      executor,
      graph,
      'raise,mark-sites{scheme=rptq-w4a4},observe,calibrate,rptq,fold-channels,quantize{scheme=rptq-w4a8}',
      { samples: [feeds] },
    );
    const marked = parseGraph(
      `graph @shared(%x: f32[B,S,4], %q: f32[B,S,4]) { %c: f32[B,S,4] = Attention(%q, %x, %x) {q_num_heads = 2, kv_num_heads = 2} return %c }`,
    );
    await runPipeline(executor, marked, 'mark-sites{scheme=rptq-w4a4}', { facts: ['raised'] });
    expect(new Map(sites(marked).map((s) => [s.key, s.role]))).toEqual(
      new Map([
        ['q', 'query'],
        ['x', 'key'],
        ['x.2', 'value'],
      ]),
    );
    expect(Object.keys(await runOnce(executor, graph, feeds))).toEqual(['c']);
  });
  test('passes over a sample that is padding alone', async () => {
    const bare = [{ x: f32([1, 1, 3], [1, -2, 3]), attention_mask: mask(1) }];
    const more = [...bare, { x: f32([1, 1, 3], [9, 9, 9]), attention_mask: mask(0) }];
    expect(valuesOf(await seenBy(observed(), more))).toEqual(valuesOf(await seenBy(observed(), bare)));
  });
  test('but without a mask everything counts', async () => {
    const s = await seenBy(observed(), [{ x: f32([1, 2, 3], [1, -2, 3, 400, 5, -600]), attention_mask: mask(1, 1) }]);
    expect([...s.get('x')!.range.max]).toEqual([400, 5, 3]);
  });
  test('says so when an activation is not finite', async () => {
    const wild = [{ x: f32([1, 2, 3], [1, NaN, 3, 4, 5, 6]), attention_mask: mask(1, 1) }];
    await expect(collect(observed(), context(wild))).rejects.toMatchObject({ code: 'QC2107' });
  });
  test('needs data', async () => {
    await expect(collect(observed(), context([]))).rejects.toMatchObject({ code: 'QC2101' });
  });
  test.each(['bert-tiny-op17', 'gpt2-tiny-op17', 'pre-LN block'])('in many slices gives exactly what one slice gives: %s', async (name) => {
    const graph = await transformed(name, marking('rptq-w4a4'));
    const { samples } = subject(name);
    const [whole, sliced] = [await seenBy(graph, samples), await seenBy(graph, samples, 20_000)];
    expect(whole.size).toBe([...graph.nodes].filter((n) => n.op === Observer.schema.op).length);
    expect(valuesOf(sliced)).toEqual(valuesOf(whole));
  });
  test('with saved statistics needs no data, and says which site they do not know', async () => {
    const graph = observed();
    const manager = await runPipeline(executor, graph, 'calibrate', {
      facts: ['observed'],
      samples: [{ x: f32([1, 1, 3], [1, 2, 3]), attention_mask: mask(1) }],
    });
    expect(manager.passes[0]!.counts.get('observers')).toBe(1);
    expect([...statisticsAt(sites(graph)[0]!)!.range.max]).toEqual([1, 2, 3]);
  });
});

describe('the contract check', () => {
  const add = (name: string, contract: 'exact' | 'approximate', run: (graph: Graph) => void) =>
    definePass({ name, summary: 'a test', contract, run });
  const wrong = add('wrong-bias', 'exact', (graph) => {
    const bias = valueNamed(graph, 'bv');
    const made = graph.addConstant('other', f32Constant(bias.constant!.shape[0]!));
    graph.replaceUses(bias, made);
  });
  const idle = add('idle', 'exact', () => {});
  const f32Constant = (n: number) => parseGraph(`graph @c() { const %c: f32[${n}] = splat 3.0 return %c }`).outputs[0]!.constant!;

  test('catches an exact pass that changes the function, and names the first value that is wrong for good', async () => {
    const { open } = subject('pre-LN block');
    const graph = open();
    const contract = await contractOn(executor, graph, maskedSamples[0]!);
    const run = runPipeline(executor, graph, 'wrong-bias', { contract, more: [wrong] });
    await expect(run).rejects.toMatchObject({ code: 'QC3001' });
    await run.catch((error: Error) =>
      expect(error.message).toMatch(
        /pass wrong-bias must not change what the model computes, but the outputs differ by [\d.e+-]+ relative\n {2}note: %v is the first value/,
      ),
    );
  });
  test('is content with an approximate pass, and measures from there on', async () => {
    const graph = subject('pre-LN block').open();
    const contract = await contractOn(executor, graph, maskedSamples[0]!);
    await runPipeline(executor, graph, 'loose,idle', {
      contract,
      more: [add('loose', 'approximate', (g) => g.replaceUses(valueNamed(g, 'bv'), g.addConstant('other', f32Constant(16)))), idle],
    });
    expect(contract.worst).toBe(0);
  });
  test('cannot see a pass that does nothing; the effect helper can', async () => {
    const graph = subject('pre-LN block').open();
    const contract = await contractOn(executor, graph, maskedSamples[0]!);
    const { passes } = await runPipeline(executor, graph, 'idle', { contract, more: [idle] });
    expect(() => expectEffect(passes, 'sites')).toThrow('no pass had an effect: idle changed nothing');
    const real = await runPipeline(executor, subject('pre-LN block').open(), transforms['os+'], { samples: maskedSamples });
    expectEffect(real.passes, 'sites');
  });
  test('compares half precision by value, not by code', () => {
    const half = (...codes: readonly number[]) => ({ y: { dtype: 'f16' as const, shape: [codes.length], data: Uint16Array.from(codes) } });
    expect(largestDifference(half(0x3c00, 0x4000), half(0x3c01, 0x4000))).toBeCloseTo(2 ** -10 / 2, 6);
    expect(largestDifference(half(0x3c00), half(0x3c00))).toBe(0);
    expect(largestDifference(half(0x3c00), half(0x7c00))).toBe(Infinity);
  });
  test('takes other shapes, missing outputs and NaN for the worst, equal infinities for equal', () => {
    expect(largestDifference({ y: f32([2], [1, 2]) }, { y: f32([1], [1]) })).toBe(Infinity);
    expect(largestDifference({ y: f32([1], [1]) }, {})).toBe(Infinity);
    expect(largestDifference({ y: f32([1], [1]) }, { y: f32([1], [NaN]) })).toBe(Infinity);
    expect(largestDifference({ y: f32([2], [Infinity, NaN]) }, { y: f32([2], [Infinity, NaN]) })).toBe(0);
    expect(largestDifference({ y: f32([2], [-Infinity, 1]) }, { y: f32([2], [-Infinity, 2]) })).toBe(1);
    expect(largestDifference({ y: f32([2], [4, 0]) }, { y: f32([2], [4, 1]) })).toBe(0.25);
  });
});

test('raising recognises both layers of the BERT and OPT exports', async () => {
  for (const [name, norms] of [
    ['bert-tiny-op17', 5],
    ['bert-tiny-op13', 5],
    ['opt-tiny-op13', 5],
  ] as const) {
    const graph = openFixture(name);
    await runPipeline(executor, graph, opening, { samples: fixtureSamples(name, 1) });
    const count = (wanted: string): number => [...graph.nodes].filter((n) => n.op === wanted).length;
    expect([count('Attention'), count('LayerNormalization'), count('Softmax'), count('Gemm'), count('Erf')]).toEqual([2, norms, 0, 0, 0]);
  }
});
