import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { cloneGraph, free, parseGraph, printGraph, sites, type Graph, type Site } from '../../ir/index.ts';
import { inferTypes } from '../../ir/shapes/infer.ts';
import { inMemory as tensorOf } from '../../ir/tensor.ts';
import { definePass, largestDifference, reductions, runOnce, statisticsAt, type Feeds, type LedgerEntry } from '../../passes/index.ts';
import { capture } from '../../passes/search/capture.ts';
import { lossRegion } from '../../passes/search/loss-region.ts';
import { names } from '../../passes/search/loss-settings.ts';
import type { LossSample } from '../../passes/search/losses.ts';
import { siteLoss } from '../../passes/scaling/site-loss.ts';
import { chooseScaling } from '../../passes/scaling/choose.ts';
import { scaledSites } from '../../passes/scaling/scaled-site.ts';
import { scalingsOf, type WidthRule } from '../../passes/scaling/scaling.ts';
import { meanOfTied, rowMaxima, widthsFor } from '../../passes/scaling/widths.ts';
import { openModel, syntheticFeeds } from '../../src/model.ts';
import { fileSpool } from '../../src/runtime/spool.ts';
import { familyPath } from '../support/families.ts';
import {
  contractOn,
  elements,
  everyFact,
  f32,
  fusingExecutor,
  opsOf,
  passContext,
  plainExecutor,
  randomFeed,
  runPipeline,
} from '../support/run.ts';
import { subject } from './zoo.ts';

const executor = plainExecutor();
const fusing = fusingExecutor();
afterAll(() => Promise.all([executor.close(), fusing.close()]));

const opening = 'raise,fold-constants,tie-weights,mark-sites,observe,calibrate';

describe('widths', () => {
  const product = (v: Float64Array): number => v.reduce((a, b) => a * b, 1);
  test('are x^a / w^b over their geometric mean', () => {
    const found = widthsFor([16, 4, 1], [1, 0.25, 4], { activation: 0.5, weight: 1 }, null);
    const expected = [4, 8, 0.25].map((s) => s / 2);
    found.forEach((s, j) => expect(s).toBeCloseTo(expected[j]!, 12));
    expect(product(found)).toBeCloseTo(1, 12);
  });
  test('of channels that are 0, or that nothing reads, are 1, and do not count for the mean', () => {
    const found = widthsFor([16, 0, 1, 9], [1, 1, 1, 0], { activation: 0.5, weight: 0 }, null);
    [2, 1, 0.5, 1].forEach((s, j) => expect(found[j]).toBeCloseTo(s, 12));
  });
  test('take what is below 1e-4 of the largest for that', () => {
    const found = widthsFor([1, 1e-9], [1, 1], { activation: 1, weight: 0 }, null);
    expect(found[0]! / found[1]!).toBeCloseTo(1e4, 6);
  });
  test('of channels with one leader are equal to the bit', () => {
    const found = widthsFor([4, 1, 1, 0.25, 3], [1, 1, 1, 1, 1], { activation: 1, weight: 0 }, Uint32Array.of(0, 1, 0, 1, 4));
    expect([found[0], found[1]]).toEqual([found[2], found[3]]);
    expect(found[0]! / found[1]!).toBeCloseTo(4, 12);
  });
  test('means of leaders leave channels alone that have none beside them', () => {
    expect([...meanOfTied(Float64Array.of(1, 2, 5), Uint32Array.of(0, 1, 0))]).toEqual([3, 2, 3]);
    const v = Float64Array.of(1, 2);
    expect(meanOfTied(v, null)).toBe(v);
  });
  test('the largest weight of a row counts over all products', () => {
    const weights = [Float32Array.of(1, -3, 0.5, 0.25), Float32Array.of(2, 2, -7, 1)].map((w) => tensorOf('f32', [2, 2], w));
    expect([...rowMaxima(weights)]).toEqual([3, 7]);
  });
});

interface Shape {
  readonly heads: number;
  readonly keyHeads: number;
  readonly norm: 'LayerNormalization' | 'RMSNormalization';
  readonly inner: 'Relu' | 'Gelu' | 'gated';
  readonly postNorm: boolean;
  readonly biases: boolean;
  readonly seed: number;
}

/** An attention and an MLP over 8 channels, some of them wide. */
function modelOf({ heads, keyHeads, norm, inner, postNorm, biases, seed }: Shape): Graph {
  const [wide, narrow] = [heads * 4, keyHeads * 4];
  const normed = (x: string): string => `${norm}(%${x}, %g${norm === 'LayerNormalization' ? ', %b' : ''})`;
  const linear = (out: string, x: string, w: string, size: number): string =>
    biases
      ? `%${out}.p: f32[B,S,${size}] = MatMul(%${x}, %${w}) %${out}: f32[B,S,${size}] = Add(%${out}.p, %${w}.b)`
      : `%${out}: f32[B,S,${size}] = MatMul(%${x}, %${w})`;
  const weights: readonly (readonly [string, number, number])[] = [
    ['wq', 8, wide],
    ['wk', 8, narrow],
    ['wv', 8, narrow],
    ['wo', wide, 8],
    ['w1', 8, 12],
    ['wg', 8, 12],
    ['w2', 12, 8],
  ];
  const mlp = {
    Relu: '%r: f32[B,S,12] = Relu(%p)',
    Gelu: '%r: f32[B,S,12] = Gelu(%p)',
    gated: `${linear('gate', 'n', 'wg', 12)} %sig: f32[B,S,12] = Sigmoid(%gate) %act: f32[B,S,12] = Mul(%gate, %sig) %r: f32[B,S,12] = Mul(%act, %p)`,
  }[inner];
  return parseGraph(`graph @model(%x: f32[B,S,8]) {
    const %g: f32[8] = [1.0, 0.5, 9.0, 1.0, 0.2, 1.0, 7.0, 1.5]
    const %b: f32[8] = [0.0, 3.0, -8.0, 0.5, 0.0, -0.5, 2.0, 0.0]
    ${weights.map(([w, rows, columns], i) => `const %${w}: f32[${rows},${columns}] = random ${seed + i} const %${w}.b: f32[${columns}] = random ${seed + 50 + i}`).join('\n')}
    %h: f32[B,S,8] = ${normed('x')}
    ${linear('q', 'h', 'wq', wide)} ${linear('k', 'h', 'wk', narrow)} ${linear('v', 'h', 'wv', narrow)}
    %c: f32[B,S,${wide}] = Attention(%q, %k, %v) {q_num_heads = ${heads}, kv_num_heads = ${keyHeads}}
    ${linear('o', 'c', 'wo', 8)}
    %y: f32[B,S,8] = Add(%${postNorm ? 'h' : 'x'}, %o)
    %n: f32[B,S,8] = ${normed('y')}
    ${linear('p', 'n', 'w1', 12)} ${mlp} ${linear('m', 'r', 'w2', 8)}
    %z: f32[B,S,8] = Add(%y, %m)
    return %z
  }`);
}

const samples: readonly Feeds[] = [1, 2, 3, 4].map((s) => ({ x: randomFeed([1, 5, 8], s) }));

describe('laws', () => {
  const shapes = fc.record<Shape>({
    heads: fc.constantFrom(2, 4),
    keyHeads: fc.constantFrom(1, 2),
    norm: fc.constantFrom('LayerNormalization', 'RMSNormalization'),
    inner: fc.constantFrom('Relu', 'Gelu', 'gated'),
    postNorm: fc.boolean(),
    biases: fc.boolean(),
    seed: fc.nat(1000),
  });
  const methods = [
    'os+{threshold=1.5}',
    'rptq{r1=3 r2=2 r3=2 r4=3 r5=3}',
    'equalize{tokens=8}',
    'equalize{alpha=0.75}',
    'smooth{alpha=0.5}',
    'awq{alpha=0.3}',
  ];
  const orders = fc.shuffledSubarray(methods, { minLength: 2, maxLength: 4 });
  test('any order of os+, rptq, equalize, smooth and awq keeps what any model computes, and leaves no scale or shift but on the shortcut of a post-LN model', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, orders, fc.constantFrom('w4a8', 'w4a16', 'rptq-w4a4'), async (shape, order, scheme) => {
        const graph = modelOf(shape);
        const before = cloneGraph(graph);
        const contract = await contractOn(fusing, graph, samples[0]!);
        const calls = order.map((call) => (/^(equalize|smooth|awq)/.test(call) ? call.replace('{', `{scheme=${scheme} `) : call));
        const marked = opening.replace('mark-sites', `mark-sites{scheme=${scheme}}`);
        await runPipeline(fusing, graph, [marked, ...calls.map((call) => `${call},fold-channels`)].join(), { samples, contract });
        await contract.close();
        for (const feeds of samples)
          expect(largestDifference(await runOnce(fusing, before, feeds), await runOnce(fusing, graph, feeds))).toBeLessThan(2e-4);
        const scaling = [...graph.nodes].filter((n) => n.attributes.has('scale') && (n.op === 'qc.Encode' || n.op === 'qc.Decode'));
        for (const node of scaling) expect([shape.postNorm, node.op, node.input(0)!.producer!.op]).toEqual([true, 'qc.Decode', shape.norm]);
      }),
      { numRuns: 15, seed: 11 },
    );
  }, 120_000);
});

function expectClose(a: ArrayLike<number>, b: ArrayLike<number>): void {
  const size = Math.max(...Array.from(b, Math.abs), 1e-6);
  expect(a.length).toBe(b.length);
  for (let i = 0; i < a.length; i++) expect(Math.abs(a[i]! - b[i]!)).toBeLessThan(1e-3 * size);
}

describe('the effect', () => {
  const magnitudes = {
    equalize: (site: Site) => statisticsAt(site)!.get(reductions.rms)!.rms,
    smooth: (site: Site) => {
      const { min, max } = statisticsAt(site)!.range;
      return max.map((hi, j) => Math.max(hi, -min[j]!));
    },
    awq: (site: Site) => statisticsAt(site)!.get(reductions.meanAbs)!,
  } as const;
  const rowsAt = (graph: Graph, site: Site) => rowMaxima(lossRegion(graph, site).linears.map((l) => l.weight.constant!));
  /** Has calibration see what the methods ask for, and changes nothing. */
  const look = definePass({
    name: 'look',
    summary: 'a test',
    contract: 'exact',
    observes: [reductions.range, reductions.rms, reductions.meanAbs],
    run() {},
  });
  /** The largest of some ratios over the least. */
  const spread = (x: ArrayLike<number>, w: ArrayLike<number>): number => {
    const ratios = Array.from(x, (v, j) => v / w[j]!).filter((r) => r > 0);
    return Math.max(...ratios) / Math.min(...ratios);
  };
  const ones = (n: number) => new Float32Array(n).fill(1);
  const effects = [
    // x / s and w s, where s = (x / w)^0.5, are both (x w)^0.5.
    ['equalize', 'alpha=0.5', rowsAt],
    ['smooth', 'alpha=0.5', rowsAt],
    ['awq', 'alpha=1', (_: Graph, site: Site) => ones(statisticsAt(site)!.range.min.length)],
  ] as const;
  describe.each(effects)('of %s with %s', (name, alpha, reference) => {
    test.each(['pre-LN block', 'post-LN block', 'mlp with relu'])(
      'is that the channels of each site of %s are as large as the rows that they meet, or all alike, and calibration sees that',
      async (model) => {
        const { open, samples: data } = subject(model);
        const graph = open();
        await runPipeline(executor, graph, `${opening},${name}{${alpha}},fold-channels`, { samples: data });
        const scaled = sites(graph).filter((s) => s.x.producer!.attributes.has('scale'));
        expect(scaled.length).toBeGreaterThanOrEqual(sites(graph).length - 1);
        const predicted = scaled.map((s) => magnitudes[name](s));
        // The rows behind a norm change once more, by the scale of the site behind their linear.
        const last = scaled.map((site, i) => [site, predicted[i]!] as const).filter(([s]) => reference !== rowsAt || s.role === 'linear');
        expect(last.length).toBeGreaterThan(0);
        for (const [site, found] of last) expect(spread(found, reference(graph, site))).toBeLessThan(1 + 1e-4);
        await runPipeline(executor, graph, 'calibrate,look', { samples: data, facts: everyFact, more: [look] });
        const keys = new Set(scaled.map((s) => s.key));
        sites(graph)
          .filter((s) => keys.has(s.key))
          .forEach((site, i) => expectClose(magnitudes[name](site), predicted[i]!));
      },
    );
  });
  test('of a search is a smaller loss of the model, the same every time', async () => {
    const lossAfter = async (pass: string): Promise<readonly [Graph, number]> => {
      const graph = modelOf({ heads: 2, keyHeads: 2, norm: 'LayerNormalization', inner: 'Relu', postNorm: false, biases: true, seed: 5 });
      const before = cloneGraph(graph);
      const marked = opening.replace('mark-sites', 'mark-sites{scheme=w4a8}');
      await runPipeline(executor, graph, `${marked}${pass},fold-channels`, { samples });
      const quantized = cloneGraph(graph);
      await runPipeline(executor, quantized, 'quantize{scheme=w4a8}', { facts: everyFact });
      let sum = 0;
      for (const feeds of samples) {
        const [a, b] = [elements(await runOnce(executor, before, feeds), 'z'), elements(await runOnce(executor, quantized, feeds), 'z')];
        a.forEach((x, i) => (sum += (x - b[i]!) ** 2));
      }
      return [graph, sum];
    };
    const [, plain] = await lossAfter('');
    const [graph, found] = await lossAfter(',equalize{scheme=w4a8}');
    const [again] = await lossAfter(',equalize{scheme=w4a8}');
    expect(found).toBeLessThan(0.8 * plain);
    expect(printGraph(again)).toBe(printGraph(graph));
  });
});

describe('a site that stays as it is has a reason', () => {
  const leftOf = async (graph: Graph, pipeline: string, data: readonly Feeds[] | null = samples): Promise<readonly string[]> => {
    const { ledger } = await runPipeline(executor, graph, pipeline, { samples: data });
    return ledger.entries.flatMap((e) => e.left.map((why) => `${e.name}: ${why}`)).filter((l) => l.includes('scaled'));
  };
  const shape: Shape = { heads: 2, keyHeads: 2, norm: 'LayerNormalization', inner: 'Relu', postNorm: false, biases: true, seed: 5 };
  test('where an operator takes no scale', async () => {
    expect(await leftOf(modelOf({ ...shape, inner: 'Gelu' }), `${opening},equalize{alpha=0.5}`)).toEqual([
      'm.p: input not scaled by equalize: Gelu %r takes no scale',
    ]);
  });
  test('where the scheme quantizes values on the way', async () => {
    expect(await leftOf(modelOf(shape), `${opening.replace('mark-sites', 'mark-sites{scheme=rptq-w4a4}')},smooth{alpha=0.5}`)).toEqual([
      'o.p: input not scaled by smooth: the values of the attention are quantized on the way, which the loss does not see',
    ]);
  });
  test('where the magnitudes are lost behind a shift', async () => {
    const left = await leftOf(modelOf(shape), `${opening},os+{threshold=2},fold-channels,awq{alpha=0.5}`);
    expect(left).toHaveLength(4);
    for (const line of left) expect(line).toMatch(/: input not scaled by awq: the mean of \|x\| is not known behind a shift$/);
  });
  test('where calibration saw nothing', async () => {
    const graph = modelOf(shape);
    await runPipeline(executor, graph, 'raise,mark-sites,observe');
    const { ledger, diagnostics } = await runPipeline(executor, graph, 'equalize{alpha=0.5}', { facts: everyFact });
    expect(diagnostics.map((d) => d.code)).toEqual(['QC3201', 'QC3201', 'QC3201', 'QC3201']);
    expect(ledger.entries.map((e) => e.left)).toEqual(
      Array.from({ length: 6 }, () => ['input not scaled by equalize: calibration has seen nothing there']),
    );
  });
  test('and without data there is nothing to search with, which is said', async () => {
    const graph = modelOf(shape);
    await runPipeline(executor, graph, `${opening}`, { samples });
    await expect(runPipeline(executor, graph, 'smooth', { facts: everyFact, samples: null })).rejects.toMatchObject({ code: 'QC2101' });
  });
});

describe('the choice at a site', () => {
  // The weights of channel 0 are small beside its values, those of channel 1 are not: the widths make room for row 0 and take it from row 1.
  const graph = parseGraph(`graph @site(%x: f32[N,2]) {
    const %w: f32[2,3] = [0.21, -0.13, 0.17, 1.0, 0.62, -0.83]
    %o: f32[N,2] = qc.Observer(%x) {key = "x", min = f32[2] [-8.0, -1.0], max = f32[2] [8.0, 1.0], rms = f32[2] [8.0, 1.0], rms_mean = f32[2] [0.0, 0.0]}
    %s: f32[N,2] = qc.Site(%o) {key = "x", role = "norm"}
    %y: f32[N,3] = MatMul(%s, %w)
    return %y
  }`);
  const site = sites(graph)[0]!;
  const searched = { site, statistics: statisticsAt(site)!, region: lossRegion(graph, site), freedom: free(2) };
  const rule: WidthRule = {
    observes: [reductions.rms],
    magnitude: (s) => s.get(reductions.rms)?.rms ?? null,
    unknown: 'unknown',
    exponents: (alpha) => ({ activation: alpha, weight: alpha }),
    grid: [0.5, 1],
  };
  const layout = { weights: 'auto', activations: 'auto', block: 32, multiples: false, gated: 'token' } as const;
  const settings = { scheme: 'w4a16', shift: false, ...layout };
  const tokens = (...x: readonly number[]) => [{ feeds: { [names.x]: f32([x.length / 2, 2], x) }, tokens: x.length / 2 }];
  const [first, second, silent] = [tokens(8, 0, -5, 0, 3, 0), tokens(0, 1, 0, -0.7), tokens(0, 0)];
  const choose = (seen: readonly LossSample[], heldOut: readonly LossSample[]) =>
    chooseScaling(
      graph,
      searched,
      rule,
      settings,
      { samplesAt: () => Promise.resolve(seen), heldOutAt: () => Promise.resolve(heldOut) },
      passContext(executor, samples),
    );
  test('is the exponent with the least loss, where tokens that were held out agree', async () => {
    const choice = await choose(first, tokens(4, 0));
    expect(choice).toMatchObject({ kind: 'scaled', judgedOn: 1 });
    const loss = await siteLoss(graph, searched, new Float64Array(2), settings, first, passContext(executor, samples));
    const scalings = scalingsOf(rule, searched, new Float64Array(2))!;
    const losses = await loss.on(first)(scalings.map((s) => ({ width: s.width, ranges: [] })));
    await loss.close();
    const best = scalings[losses.indexOf(Math.min(...losses))]!;
    expect(best.alpha).not.toBeNull();
    expect(choice).toMatchObject({ scaling: { alpha: best.alpha } });
  });
  test('is nothing where they do not', async () => {
    expect(await choose(first, second)).toEqual({
      kind: 'left',
      expected: true,
      why: 'the scale that lowers the error most does not do so on tokens that were held out',
    });
  });
  test('is nothing where no scale lowers the loss', async () => {
    expect(await choose(silent, first)).toEqual({ kind: 'left', expected: true, why: 'no scale lowers the error of what it feeds' });
  });
  test('says so where nothing was held out to judge it', async () => {
    expect(await choose(first, [])).toMatchObject({ kind: 'scaled', judgedOn: 0 });
  });
  test('stops when it is told to', async () => {
    const ctx = { ...passContext(executor, samples), signal: AbortSignal.abort() };
    const loss = await siteLoss(graph, searched, new Float64Array(2), settings, first, ctx);
    await expect(loss.on(first)([{ width: Float64Array.of(1, 1), ranges: [] }])).rejects.toThrow();
    await loss.close();
  });
});

test('samples that judge a choice are others than those that it is made on', async () => {
  const graph = modelOf({ heads: 2, keyHeads: 2, norm: 'LayerNormalization', inner: 'Relu', postNorm: false, biases: true, seed: 5 });
  await runPipeline(executor, graph, opening, { samples });
  inferTypes(graph);
  const { scaled } = scaledSites(graph);
  const drawnFrom = async (data: readonly Feeds[], judged: boolean) => {
    const spool = fileSpool();
    const captured = await capture(graph, scaled, { tokens: 10, batch: null, seed: 3, judged }, spool, passContext(executor, data));
    const at = scaled.find((t) => t.region.mixesTokens)!;
    const [seen, heldOut] = [await captured.samplesAt(at), await captured.heldOutAt(at)];
    await spool.close();
    const key = (s: LossSample): string => (s.feeds[names.x]!.data as Float32Array).join();
    return [seen.map(key), heldOut.map(key)] as const;
  };
  const [seen, heldOut] = await drawnFrom(samples, true);
  expect([seen.length, heldOut.length, new Set([...seen, ...heldOut]).size]).toEqual([2, 2, 4]);
  expect((await drawnFrom(samples, false)).map((s) => s.length)).toEqual([2, 0]);
  expect((await drawnFrom(samples.slice(0, 1), true)).map((s) => s.length)).toEqual([1, 0]);
});

describe('models of real exporters', () => {
  const run = async (name: string) => {
    const graph = openModel(familyPath(name));
    const data = [7, 9].map((sequence) => syntheticFeeds(graph, { sequence, past: 0 }));
    const before = cloneGraph(graph);
    const { ledger } = await runPipeline(
      fusing,
      graph,
      `${opening.replace('mark-sites', 'mark-sites{scheme=w4a8}')},equalize{alpha=0.5},fold-channels,dead-code`,
      { samples: data },
    );
    for (const feeds of data)
      expect(largestDifference(await runOnce(fusing, before, feeds), await runOnce(fusing, graph, feeds))).toBeLessThan(1e-4);
    expect(opsOf(graph).filter((op) => op === 'qc.Encode' || op === 'qc.Decode')).toEqual([]);
    return ledger.entries.filter((e) => e.kind === 'linear');
  };
  const scaledBy = (text: string, linears: readonly LedgerEntry[]) => linears.filter((l) => l.done.includes(text)).length;
  test('a gated MLP with RMSNormalization: every linear of LLaMA but the head', async () => {
    const linears = await run('llama-ts17');
    expect([scaledBy('input scaled with alpha 0.5 by equalize', linears), linears.length]).toEqual([14, 15]);
  });
  test('an MLP with Relu and LayerNormalization: every linear of OPT but the head, and those that Relu does not feed are centred', async () => {
    const linears = await run('opt-ts17');
    expect([scaledBy('input centred and scaled with alpha 0.5 by equalize', linears), linears.length]).toEqual([10, 13]);
    expect(scaledBy('input scaled with alpha 0.5 by equalize', linears)).toBe(2);
  });
});
