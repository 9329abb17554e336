import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from '@jest/globals';
import { dequantized, quantizedWeight } from '../../codegen/targets/quantized.ts';
import { lowerTo, targetNamed, targets } from '../../codegen/index.ts';
import { cloneGraph, codeRange, parseGraph, printGraph, setGroups, sites, type Graph } from '../../ir/index.ts';
import { FakeQuantize } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { floats } from '../../ir/tensor.ts';
import { freedomBelow, PassManager, passes, reductions, runOnce, setStatistic, type Feeds, type Gram } from '../../passes/index.ts';
import { factorize, panel } from '../../passes/methods/gptq/factor.ts';
import { hessianOf } from '../../passes/methods/gptq/hessian.ts';
import { openProducts, type Products } from '../../passes/methods/gptq/products.ts';
import { roundByHessian } from '../../passes/methods/gptq/round.ts';
import { largestOfColumns, weightParameters } from '../../passes/quantize/weights.ts';
import { elements, errorOf, everyFact, f32, plainExecutor, runPipeline } from '../support/run.ts';

const executor = plainExecutor();
const opened: Products[] = [];
afterAll(async () => {
  for (const each of opened) await each.close();
  await executor.close();
});
async function products(): Promise<Products> {
  opened[0] ??= await openProducts(executor, new Map([['', 23]]));
  return opened[0];
}

/** The numbers of scripts/fixtures/gptq_reference.py. */
function* uniform(seed: number): Generator<number, never> {
  for (let state = seed; ;) {
    state = (state * 48271) % 2147483647;
    yield (state / 2147483647) * 2 - 1;
  }
}
type Numbers = Generator<number, never>;
const take = (numbers: Numbers, n: number): readonly number[] => Array.from({ length: n }, () => numbers.next().value);

/** Inputs [tokens, channels] as in the reference. */
function inputs(tokens: number, channels: number, numbers: Numbers): Float32Array {
  const width = take(numbers, channels).map((u) => 2 ** (3 * u));
  const centre = take(numbers, channels).map((u) => 3 * u);
  const x = new Float32Array(tokens * channels);
  for (let t = 0; t < tokens; t++) {
    let before = 0;
    for (let c = 0; c < channels; c++) {
      before = 0.75 * before + numbers.next().value;
      x[t * channels + c] = before * width[c]! + centre[c]!;
    }
  }
  return x;
}

function gramOf(x: Float32Array, channels: number): Gram {
  const tokens = x.length / channels;
  const [matrix, mean] = [new Float64Array(channels * channels), new Float64Array(channels)];
  for (let t = 0; t < tokens; t++)
    for (let i = 0; i < channels; i++) {
      const xi = x[t * channels + i]! / tokens;
      mean[i]! += xi;
      for (let j = 0; j < channels; j++) matrix[i * channels + j]! += xi * x[t * channels + j]!;
    }
  return { matrix: Float32Array.from(matrix), mean: Float32Array.from(mean) };
}

/** The mean over tokens of |x E + b|^2 for E [channels, columns]. */
function outputError(x: Float32Array, e: Float32Array, columns: number, b: ArrayLike<number> = new Float32Array(columns)): number {
  const channels = e.length / columns;
  const tokens = x.length / channels;
  let sum = 0;
  for (let t = 0; t < tokens; t++)
    for (let c = 0; c < columns; c++) {
      let y = b[c]!;
      for (let i = 0; i < channels; i++) y += x[t * channels + i]! * e[i * columns + c]!;
      sum += y * y;
    }
  return sum / tokens;
}

interface Case {
  readonly name: string;
  readonly seed: number;
  readonly bits: number;
  readonly symmetric: boolean;
  readonly sizes: readonly number[];
  readonly columns: number;
  readonly codes: readonly number[];
  readonly scale: readonly number[];
  readonly zero: readonly number[];
  readonly bias: readonly number[];
}
const cases = JSON.parse(readFileSync('test/fixtures/gptq.json', 'utf8')) as readonly Case[];

describe('rounding gives what the definition by the inverse Hessian gives', () => {
  test.each(cases.map((c) => [c.name, c] as const))('%s', async (_, c) => {
    const channels = c.sizes.reduce((a, b) => a + b);
    expect(channels).toBeGreaterThan(panel);
    const numbers = uniform(c.seed);
    const x = inputs(400, channels, numbers);
    const weight = Float32Array.from(take(numbers, channels * c.columns));
    const hessian = await hessianOf(gramOf(x, channels), { damping: 0.01, order: 'variance' }, await products(), 'x');
    const spec = { bits: c.bits, symmetric: c.symmetric, grid: 'standard' } as const;
    const { scale, zero } = weightParameters(
      weight,
      c.columns,
      spec,
      { sizes: c.sizes, wholeTensor: false, multiples: false },
      hessian.variance,
    );
    expect([...zero].map((z) => z + 0)).toEqual(c.zero);
    scale.forEach((s, i) => expect(s).toBeCloseTo(c.scale[i]!, 6));
    const { min: qmin, max: qmax } = codeRange(c.bits, c.symmetric);
    const subject = { weight, columns: c.columns, sizes: c.sizes, scale, zero, qmin, qmax, limit: null };
    const rounded = await roundByHessian(subject, hessian, await products());
    const groups = c.sizes.flatMap((n, g) => Array.from({ length: n }, () => g));
    const codes = [...rounded.weight].map((w, i) => {
      const at = groups[Math.floor(i / c.columns)]! * c.columns + (i % c.columns);
      return Math.round(w / scale[at]!) + zero[at]!;
    });
    expect(codes).toEqual(c.codes);
    c.bias.forEach((b, i) => expect(rounded.bias[i]).toBeCloseTo(b, 3));
  });
});

/** A Toeplitz matrix that is positive definite, because 0.9^|i - j| is. */
const positive = (size: number): Float64Array =>
  Float64Array.from({ length: size * size }, (_, at) => {
    const distance = Math.abs(Math.floor(at / size) - (at % size));
    return 0.9 ** distance + (distance === 0 ? 0.1 : 0);
  });

describe('the factor of a Hessian', () => {
  test.each([1, 5, panel, panel + 1, 3 * panel + 7])('of %i channels is upper triangular, and its square is the Hessian', async (size) => {
    const h = positive(size);
    const m = { size, data: h.slice() };
    expect(await factorize(m, await products())).toBe(true);
    for (let i = 0; i < size; i += 5)
      for (let j = i; j < size; j++) {
        let sum = 0;
        for (let k = j; k < size; k++) sum += m.data[i * size + k]! * m.data[j * size + k]!;
        expect(Math.abs(sum - h[i * size + j]!)).toBeLessThan(1e-9 * size);
      }
  });
  test('does not exist where the Hessian is not positive definite', async () => {
    const size = panel + 20;
    const h = positive(size);
    h[3 * size + 3] = -1;
    expect(await factorize({ size, data: h }, await products())).toBe(false);
  });
  test('is that of the diagonal where channels are constant', async () => {
    const gram = { matrix: Float32Array.from([4, 6, 6, 9]), mean: Float32Array.from([2, 3]) };
    const { factor, variance } = await hessianOf(gram, { damping: 0.01, order: 'variance' }, await products(), 'x');
    expect([...variance]).toEqual([0, 0]);
    expect(factor.data[0]).toBeCloseTo(0.1);
    expect(factor.data[1]).toBe(0);
  });
  test('is refused where statistics are no numbers', async () => {
    const gram = { matrix: Float32Array.from([NaN, 0, 0, 1]), mean: new Float32Array(2) };
    const run = hessianOf(gram, { damping: 0.01, order: 'given' }, await products(), 'x');
    await expect(run).rejects.toMatchObject({ code: 'QC2107' });
  });
});

const [channels, columns] = [48, 20];
/** Two products of one site and one of another; the second has a bias. */
const graphOf = (): Graph =>
  parseGraph(`graph @two(%x: f32[B,${channels}]) {
    const %w: f32[${channels},${columns}] = random 3
    const %v: f32[${channels},${columns}] = random 4
    const %u: f32[${columns},4] = random 5
    const %b: f32[${columns}] = random 6
    %xo: f32[B,${channels}] = qc.Observer(%x) {key = "x"}
    %xs: f32[B,${channels}] = qc.Site(%xo) {key = "x", role = "linear"}
    %y: f32[B,${columns}] = MatMul(%xs, %w)
    %z: f32[B,${columns}] = MatMul(%xs, %v)
    %a: f32[B,${columns}] = Add(%z, %b)
    %s: f32[B,${columns}] = Add(%a, %y)
    %ro: f32[B,${columns}] = qc.Observer(%s) {key = "s"}
    %rs: f32[B,${columns}] = qc.Site(%ro) {key = "s", role = "linear"}
    %t: f32[B,4] = MatMul(%rs, %u)
    return %y, %a, %t
  }`);
const tokens = 160;
const samples: readonly Feeds[] = [0, 1].map(() => ({})).map((_, s) => ({ x: f32([tokens, channels], data(s)) }));
/** Calibration and held-out tokens of the same distribution: one series of numbers. */
function data(part: number): Float32Array {
  const all = inputs(3 * tokens, channels, uniform(77));
  return all.subarray(part * tokens * channels, (part + 1) * tokens * channels);
}
const heldOut: Feeds = { x: f32([tokens, channels], data(2)) };

const quantizers = (graph: Graph): readonly FakeQuantize[] =>
  [...graph.nodes].flatMap((n) => {
    const fake = viewAs(FakeQuantize, n);
    return fake?.x.constant ? [fake] : [];
  });

async function compiled(pipeline: string, graph: Graph = graphOf()): Promise<Graph> {
  await runPipeline(executor, graph, pipeline, { facts: everyFact, samples });
  return graph;
}
async function errors(graph: Graph, feeds: Feeds): Promise<readonly number[]> {
  const [is, was] = [await runOnce(executor, graph, feeds), await runOnce(executor, graphOf(), feeds)];
  return ['y', 'a', 't'].map((name) => {
    const [p, q] = [elements(is, name), elements(was, name)];
    return p.reduce((sum, v, i) => sum + (v - q[i]!) ** 2, 0);
  });
}

describe('gptq', () => {
  // What activations lose is the same for both.
  test.each([
    ['w4a16', 0.5],
    ['w4a8', 0.7],
    ['rptq-w3a3kv', 0.5],
    ['os+-int8', 1],
    ['os+-int6-token', 1],
  ])('loses less than round to nearest: %s', async (scheme, part) => {
    const nearest = await compiled(`calibrate,quantize{scheme=${scheme}}`);
    const rounded = await compiled(`calibrate,gptq{scheme=${scheme}},quantize{scheme=${scheme}}`);
    expect(quantizers(rounded)).toHaveLength(3);
    for (const feeds of [...samples, heldOut]) {
      const [ours, theirs] = [await errors(rounded, feeds), await errors(nearest, feeds)];
      ours.slice(0, 2).forEach((e, i) => expect(e).toBeLessThan(theirs[i]! * part));
    }
  });

  test.each(['', 'weights=block block=16', 'weights=block block=8 multiples'])(
    'leaves weights that the same quantizer keeps bit for bit: %s',
    async (layout) => {
      const options = `{scheme=w4a16 ${layout}}`;
      const graph = await compiled(`calibrate,gptq${options},quantize${options}`);
      for (const fake of quantizers(graph)) {
        const [x, scale, zero] = [fake.x, fake.scale, fake.zero].map((v) => floats(v.constant!)) as [
          Float32Array,
          Float32Array,
          Float32Array,
        ];
        const width = fake.x.constant!.shape[1]!;
        const groups = fake.index.constant!;
        const index = new BigInt64Array(groups.bytes().slice().buffer);
        x.forEach((v, i) => {
          const at = Number(index[Math.floor(i / width)]) * width + (i % width);
          const code = Math.round(Math.fround(v / scale[at]!)) + zero[at]!;
          expect(code).toBeGreaterThanOrEqual(fake.qmin);
          expect(code).toBeLessThanOrEqual(fake.qmax);
          expect(v).toBe(Math.fround((code - zero[at]!) * scale[at]!));
        });
        expect(dequantized(quantizedWeight(fake.y)!).bytes()).toEqual(fake.x.constant!.bytes());
      }
    },
  );

  test.each([
    ['portable', 'w4a16 weights=channel', /DequantizeLinear/],
    ['portable', 'w4a16 weights=block block=16', /DequantizeLinear/],
    ['ort-cpu', 'w4a8 weights=block block=8 activations=tensor multiples', /\.multiple\b/],
  ])('gives weights that %s lowers: %s', async (target, layout, sign) => {
    const graph = await compiled(`calibrate,gptq{scheme=${layout}},quantize{scheme=${layout}}`);
    const before = cloneGraph(graph);
    lowerTo(targetNamed(targets, target), graph);
    expect(printGraph(graph)).toMatch(sign);
    expect(printGraph(graph)).not.toContain('qc.FakeQuantize');
    const [is, was] = [await runOnce(executor, graph, heldOut), await runOnce(executor, before, heldOut)];
    for (const name of ['y', 'a', 't']) elements(is, name).forEach((v, i) => expect(v).toBeCloseTo(elements(was, name)[i]!, 2));
  });

  test('gives the mean error to biases: one that is there, and a new one where it pays', async () => {
    const graph = graphOf();
    const report = await runPipeline(executor, graph, 'calibrate,gptq{scheme=w4a16},quantize{scheme=w4a16}', { facts: everyFact, samples });
    expect(report.passes.find((p) => p.call.name === 'gptq')!.counts).toEqual(
      new Map([
        ['weights', 3],
        ['biases', 3],
      ]),
    );
    const all = { x: f32([2 * tokens, channels], [...data(0), ...data(1)]) };
    const [is, was] = [await runOnce(executor, graph, all), await runOnce(executor, graphOf(), all)];
    for (const name of ['y', 'a']) {
      const [p, q] = [elements(is, name), elements(was, name)];
      for (let c = 0; c < columns; c++) {
        let sum = 0;
        for (let t = 0; t < 2 * tokens; t++) sum += p[t * columns + c]! - q[t * columns + c]!;
        expect(Math.abs(sum / (2 * tokens))).toBeLessThan(1e-3);
      }
    }
  });

  test('leaves the mean error of activations to bias-correct, and nothing is corrected twice', async () => {
    const graph = await compiled('calibrate,gptq{scheme=w4a4},quantize{scheme=w4a4},bias-correct');
    const all = { x: f32([2 * tokens, channels], [...data(0), ...data(1)]) };
    const [is, was] = [elements(await runOnce(executor, graph, all), 'y'), elements(await runOnce(executor, graphOf(), all), 'y')];
    for (let c = 0; c < columns; c++) {
      let sum = 0;
      for (let t = 0; t < 2 * tokens; t++) sum += is[t * columns + c]! - was[t * columns + c]!;
      expect(Math.abs(sum / (2 * tokens))).toBeLessThan(2e-3);
    }
  });

  test('has the scales of blocks behind a gated product, where the target has those', async () => {
    const gated = parseGraph(`graph @gated(%x: f32[B,64]) {
      const %w: f32[64,4] = random 3
      %s: f32[B,64] = Sigmoid(%x)
      %h: f32[B,64] = Mul(%x, %s)
      %m: f32[B,64] = Mul(%h, %x)
      %mo: f32[B,64] = qc.Observer(%m) {key = "m"}
      %ms: f32[B,64] = qc.Site(%mo) {key = "m", role = "linear"}
      %y: f32[B,4] = MatMul(%ms, %w)
      return %y
    }`);
    const some = [{ x: f32([tokens, 64], inputs(tokens, 64, uniform(3))) }];
    await runPipeline(executor, gated, 'calibrate,gptq{scheme=w4a8 gated=block}', { facts: everyFact, samples: some });
    expect(quantizers(gated)[0]!.scale.constant!.shape).toEqual([2, 4]);
  });

  test('makes no bias for inputs whose mean is zero', async () => {
    const graph = graphOf();
    await runPipeline(executor, graph, 'calibrate', { facts: everyFact, samples, more: [] });
    for (const site of sites(graph)) {
      const n = site.y.type!.shape!.at(-1) as number;
      const matrix = new Float32Array(n * n);
      for (let i = 0; i < n; i++) matrix[i * (n + 1)] = 1;
      setStatistic(graph, site, reductions.gram, { matrix, mean: new Float32Array(n) });
    }
    const report = await runPipeline(executor, graph, 'gptq{scheme=w4a16}', { facts: everyFact });
    expect(report.passes[0]!.counts).toEqual(new Map([['weights', 3]]));
  });

  test('gives the same graph every time', async () => {
    const pipeline = 'calibrate,gptq{scheme=w4a8},quantize{scheme=w4a8}';
    expect(printGraph(await compiled(pipeline))).toBe(printGraph(await compiled(pipeline)));
  });

  test('keeps what is rounded within 8 bits where scales are multiples', async () => {
    const graph = await compiled('calibrate,gptq{scheme=w4a16 weights=block block=8 multiples}');
    const before = graphOf();
    for (const [fake, name] of quantizers(graph).map((q, i) => [q, ['w', 'v', 'u'][i]!] as const)) {
      const was = [...before.constants].find((v) => v.name === name)!.constant!;
      const width = was.shape[1]!;
      const most = largestOfColumns(floats(was), width);
      floats(fake.x.constant!).forEach((v, i) => expect(Math.abs(v)).toBeLessThanOrEqual((most[i % width]! * 127) / 119));
    }
  });

  test('rounds a weight that two linears of one site share once, and one of two sites twice', async () => {
    const text = printGraph(graphOf());
    const same = parseGraph(text.replace('MatMul(%xs, %v)', 'MatMul(%xs, %w)'));
    await compiled('calibrate,gptq{scheme=w4a16}', same);
    const [one, two] = quantizers(same);
    expect(one!.x).toBe(two!.x);
    const square = `graph @square(%x: f32[B,4]) {
      const %w: f32[4,4] = random 3
      %xo: f32[B,4] = qc.Observer(%x) {key = "x"}
      %xs: f32[B,4] = qc.Site(%xo) {key = "x", role = "linear"}
      %y: f32[B,4] = MatMul(%xs, %w)
      %yo: f32[B,4] = qc.Observer(%y) {key = "y"}
      %ys: f32[B,4] = qc.Site(%yo) {key = "y", role = "linear"}
      %z: f32[B,4] = MatMul(%ys, %w)
      return %z
    }`;
    const other = parseGraph(square);
    await runPipeline(executor, other, 'calibrate,gptq{scheme=w4a16}', {
      facts: everyFact,
      samples: [{ x: f32([tokens, 4], inputs(tokens, 4, uniform(5))) }],
    });
    const [first, second] = quantizers(other);
    expect(first!.x).not.toBe(second!.x);
    expect([...floats(first!.x.constant!)]).not.toEqual([...floats(second!.x.constant!)]);
  });

  test('uses the row groups of the site', async () => {
    const graph = graphOf();
    setGroups(graph, sites(graph)[0]!, [10, 30, 8]);
    await compiled('calibrate,gptq{scheme=w4a16}', graph);
    expect(quantizers(graph)[0]!.scale.constant!.shape).toEqual([3, columns]);
  });

  test('leaves weights of a site that nothing was seen at to quantize, and says so', async () => {
    const graph = graphOf();
    const report = await runPipeline(executor, graph, 'gptq{scheme=w4a16},quantize{scheme=w4a16}', { facts: everyFact });
    expect(report.diagnostics.map((d) => d.message)).toEqual(
      expect.arrayContaining([
        'no Hessian at %x; gptq leaves the weights behind it',
        'no Hessian at %s; gptq leaves the weights behind it',
      ]),
    );
    expect(report.passes.map((p) => p.counts.get('weights') ?? 0)).toEqual([0, 3]);
  });

  test('does not run before the transforms are folded, and no transform changes rows or columns afterwards', async () => {
    const manager = new PassManager(passes);
    expect(errorOf(() => manager.plan('os+,gptq', everyFact))).toMatchObject({
      code: 'QC2005',
      message: expect.stringContaining("'gptq' needs 'folded', which nothing before it gives"),
    });
    expect(
      manager
        .complete(
          [
            { name: 'os+', options: {} },
            { name: 'gptq', options: {} },
          ],
          [],
          {},
        )
        .map((c) => c.name)
        .slice(-3),
    ).toEqual(['os+', 'fold-channels', 'gptq']);
    const freedom = (graph: Graph) => freedomBelow(sites(graph)[0]!.y, channels).can;
    expect(freedom(graphOf())).toEqual({ perm: true, scale: true, shift: true });
    expect(freedom(await compiled('calibrate,gptq{scheme=w4a16}'))).toEqual({ perm: false, scale: false, shift: true });
  });

  test('has the shifts of zero points that do not fit go into biases', async () => {
    const pipeline = (zeros: string) => `calibrate,gptq{scheme=rptq-w4a4},quantize{scheme=rptq-w4a4 zeros=${zeros}}`;
    const far = graphOf();
    setGroups(
      far,
      sites(far)[0]!,
      Array.from({ length: channels }, () => 1),
    );
    const [fit, free] = [await compiled(pipeline('fit'), cloneGraph(far)), await compiled(pipeline('free'), far)];
    expect(printGraph(fit)).not.toBe(printGraph(free));
    const [a, b] = [await runOnce(executor, fit, heldOut), await runOnce(executor, free, heldOut)];
    elements(a, 'y').forEach((v, i) => expect(v).toBeCloseTo(elements(b, 'y')[i]!, 2));
  });
});

test('the error of rounded weights is what the outputs lose', async () => {
  const x = data(0);
  const weight = Float32Array.from(take(uniform(9), channels * columns));
  const hessian = await hessianOf(gramOf(x, channels), { damping: 1e-6, order: 'variance' }, await products(), 'x');
  const spec = { bits: 4, symmetric: false, grid: 'standard' } as const;
  const parameters = weightParameters(weight, columns, spec, { sizes: [channels], wholeTensor: false, multiples: false });
  const subject = { weight, columns, sizes: [channels], ...parameters, qmin: -8, qmax: 7, limit: null };
  const rounded = await roundByHessian(subject, hessian, await products());
  const lost = weight.map((w, i) => rounded.weight[i]! - w);
  const found = outputError(x, lost, columns, rounded.bias);
  expect(rounded.error / found).toBeCloseTo(1, 2);
});
