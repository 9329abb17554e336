import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { declineFor, lowerTo, readModel, roundingHalves, settleOpset, targetNamed, targets, writeModel } from '../../codegen/index.ts';
import type { Lowered } from '../../codegen/index.ts';
import { halfFromFloat } from '../../ir/float16.ts';
import { cloneGraph, parseGraph, sizeOf, verify, type Graph } from '../../ir/index.ts';
import { formatPipeline, largestDifference, PassManager, passes, runOnce, type Feeds, type HostTensor } from '../../passes/index.ts';
import { compile } from '../../src/compile.ts';
import { evaluate } from '../../src/eval/evaluate.ts';
import { effectivePipeline } from '../../src/effective-pipeline.ts';
import { subject } from '../passes/zoo.ts';
import { fusingExecutor, numbers, opsOf, plainExecutor, randomFeed, runPipeline } from '../support/run.ts';
import { linear, scales, zeros, type LinearSpec, type Quantizer } from './linear.ts';

const executor = plainExecutor();
const fusing = fusingExecutor();
const folder = mkdtempSync(join(tmpdir(), 'qc-cuda-'));
afterAll(async () => {
  await Promise.all([executor.close(), fusing.close()]);
  rmSync(folder, { recursive: true });
});

interface Made {
  /** What the target took of the quantized graph. */
  readonly before: Graph;
  readonly graph: Graph;
  readonly report: readonly Lowered[];
}

function made(source: Graph, target: string): Made {
  const graph = cloneGraph(source);
  const declined = declineFor(targetNamed(targets, target), graph);
  const before = cloneGraph(graph);
  const { report } = lowerTo(targetNamed(targets, target), graph);
  settleOpset(graph);
  verify(graph);
  return { before, graph, report: [...declined, ...report] };
}

interface Run extends Made {
  /** With the rounding of f16. */
  readonly difference: number;
}

async function lowered(source: Graph, target: string, feeds: Feeds): Promise<Run> {
  const result = made(source, target);
  await runOnce(fusing, result.graph, feeds);
  const after = await runOnce(executor, roundingHalves(result.graph), feeds);
  return { ...result, difference: largestDifference(await runOnce(executor, result.before, feeds), after) };
}

/** What f16 costs: a rounding of 2^-11 at each operator. */
const rounding = 3e-3;

const [rows, columns] = [96, 21];
const input: Quantizer = { sizes: [rows], scale: [0.025], zero: [-7], qmin: -128, qmax: 127 };
const weightOf = (sizes: readonly number[], bits: number, columnsOf = columns, symmetric = false): Quantizer => ({
  sizes,
  scale: scales(sizes.length * columnsOf, 1, 2 / 2 ** bits),
  zero: zeros(sizes.length * columnsOf, 2, symmetric ? 0 : 2 ** (bits - 1) - 1),
  qmin: -(2 ** (bits - 1)) + (symmetric ? 1 : 0),
  qmax: 2 ** (bits - 1) - 1,
});
const w = numbers(rows * columns, 9);
const x: Feeds = { x: randomFeed([1, 7, rows], 5, 3) };
const spec = (change: Partial<LinearSpec>): LinearSpec => ({
  input: null,
  weight: weightOf([rows], 8),
  rows,
  columns,
  w,
  bias: true,
  ...change,
});
/** Between the f32 that the caller gives and gets. */
const between = (...ops: readonly string[]): readonly string[] => ['Clip', 'Cast', ...ops, 'Cast'];

describe('ort-cuda', () => {
  const lower = (source: Graph, feeds: Feeds = x): Promise<Run> => lowered(source, 'ort-cuda', feeds);

  test.each<readonly [string, Quantizer, string]>([
    ['8 bits', weightOf([rows], 8), 'MatMulNBits, 8 bits in blocks of 64'],
    ['6 bits', weightOf([rows], 6), 'MatMulNBits, 8 bits in blocks of 64'],
    ['4 bits in blocks', weightOf([32, 32, 32], 4), 'MatMulNBits, 4 bits in blocks of 32'],
    ['3 bits in uneven groups that blocks divide', weightOf([64, 32], 3), 'MatMulNBits, 4 bits in blocks of 64'],
    ['4 bits in groups with a short last one', weightOf([80, 16], 4), 'MatMulNBits, 4 bits in blocks of 16'],
    ['symmetric 4 bits in groups of 48', weightOf([48, 48], 4, columns, true), 'MatMulNBits, 4 bits in blocks of 16'],
  ])('weights of %s', async (_, weight, done) => {
    const { graph, report, difference } = await lower(linear(spec({ weight })));
    expect(report).toEqual([{ kind: 'linear', name: 'y', done }]);
    expect(opsOf(graph)).toEqual(between('com.microsoft.MatMulNBits', 'Add'));
    expect(difference).toBeLessThan(rounding);
  });

  test.each<readonly [string, Partial<LinearSpec>, RegExp]>([
    ['row groups that no block divides', { weight: weightOf([33, 63], 4) }, /row groups are not blocks/],
    [
      'zero points outside the codes',
      { weight: { ...weightOf([rows], 4), zero: zeros(columns, 2, 90) } },
      /zero point of its weight is no code/,
    ],
  ])('%s: f16 weights, without DequantizeLinear', async (_, change, why) => {
    const { graph, report, difference } = await lower(linear(spec(change)));
    expect(report.map((r) => r.left)).toEqual([expect.stringMatching(why)]);
    expect(opsOf(graph)).toEqual(between('MatMul', 'Add'));
    expect(difference).toBeLessThan(rounding);
  });

  const long = 8192;
  const wide = 32;
  const product = (change: Partial<LinearSpec> = {}): LinearSpec => ({
    input: { ...input, sizes: [long] },
    weight: weightOf([long], 8, change.columns ?? wide, true),
    rows: long,
    columns: wide,
    w: numbers(long * (change.columns ?? wide), 9),
    bias: true,
    ...change,
  });
  const short: Partial<LinearSpec> = {
    rows: 4096,
    input: { ...input, sizes: [4096] },
    weight: weightOf([4096], 8, wide, true),
    w: numbers(4096 * wide, 9),
  };
  const longX: Feeds = { x: randomFeed([1, 3, long], 5, 3) };

  test.each([true, false])('a long product of int8 is one of integers, the zero point of its input in the bias; bias: %s', async (bias) => {
    const { graph, report, difference } = await lower(linear(product({ bias })), longX);
    expect(report).toEqual([{ kind: 'linear', name: 'y', done: 'integers: MatMulInteger' }]);
    expect(opsOf(graph)).toEqual(['Clip', 'Cast', 'QuantizeLinear', 'MatMulInteger', 'Cast', 'Mul', 'Add']);
    expect([...graph.nodes].find((n) => n.op === 'MatMulInteger')!.operands.map((u) => u.value!.type!.dtype)).toEqual(['i8', 'i8']);
    expect(difference).toBeLessThan(rounding);
  });

  test.each<readonly [string, Partial<LinearSpec>, RegExp]>([
    ['a short product', short, /too short/],
    ['columns that cuBLAS would pad', { columns: wide + 1 }, /multiple of 32/],
    ['a weight with zero points', { weight: weightOf([long], 8, wide) }, /not symmetric/],
    ['a weight in row groups', { weight: weightOf([long / 2, long / 2], 8, wide, true) }, /not symmetric with one scale/],
    ['clusters', { input: { ...input, sizes: [32, long - 32], scale: [0.1, 0.2], zero: [0, 1] } }, /no product of clusters/],
    ['4-bit inputs', { input: { ...input, sizes: [long], scale: [0.4], qmin: -8, qmax: 7 } }, /codes from -8 to 7/],
    ['ranges found at run time', { input: { block: long } }, /ranges found at run time/],
    ['a zero point outside the codes', { input: { ...input, sizes: [long], zero: [300] } }, /zero point is no code/],
    ['a scale below f16', { input: { ...input, sizes: [long], scale: [1e-5] } }, /too small for f16/],
  ])('%s: the input stays in float, with a reason', (_, change, why) => {
    const { graph, report } = made(linear(product(change)), 'ort-cuda');
    expect(report).toEqual([
      { kind: 'linear', name: 'y', left: expect.stringMatching(why) },
      { kind: 'linear', name: 'y', done: 'MatMulNBits, 8 bits in blocks of 128' },
    ]);
    expect(opsOf(graph)).toEqual(between('com.microsoft.MatMulNBits', 'Add'));
  });

  test('products share the codes of their input; who does not compute with codes reads the value itself', async () => {
    const graph = parseGraph(`graph @g(%x: f32[1,2,8192]) {
      const %s: f32[1] = [0.03] const %z: f32[1] = [5.0] const %i: i64[8192] = splat 0
      const %w: f32[8192,32] = random 3 const %v: f32[8192,32] = random 4
      const %ws: f32[1,32] = splat 0.008 const %wz: f32[1,32] = splat 0.0
      %qw: f32[8192,32] = qc.FakeQuantize(%w, %ws, %wz, %i) {qmin = -128, qmax = 127}
      %qv: f32[8192,32] = qc.FakeQuantize(%v, %ws, %wz, %i) {qmin = -128, qmax = 127}
      %q: f32[1,2,8192] = qc.FakeQuantize(%x, %s, %z, %i) {qmin = -128, qmax = 127}
      %a: f32[1,2,32] = MatMul(%q, %qw) %b: f32[1,2,32] = MatMul(%q, %qv) %t: f32[1,2,8192] = Tanh(%q)
      return %a, %b, %t, %q
    }`);
    const { graph: after, difference } = await lower(graph, { x: randomFeed([1, 2, 8192], 5, 3) });
    const ops = opsOf(after);
    expect(ops.filter((op) => op === 'QuantizeLinear')).toHaveLength(1);
    expect(ops.filter((op) => op === 'MatMulInteger')).toHaveLength(2);
    expect(after.outputs.map((v) => [v.name, v.type!.dtype])).toEqual(['a', 'b', 't', 'q'].map((name) => [name, 'f32']));
    expect(difference).toBeLessThan(rounding);
  });

  test('an Attention whose operands were quantized is told of', async () => {
    const { open, samples } = subject('pre-LN block');
    const graph = open();
    await runPipeline(fusing, graph, 'raise,mark-sites{scheme=os+-int8},observe,calibrate,quantize{scheme=os+-int8}', { samples });
    const { graph: after, report } = await lower(graph, samples[0]!);
    const said = report.filter((r) => r.kind === 'attention').map((r) => r.left?.split(' stays')[0]);
    expect(said.sort()).toEqual(['its key', 'its query', 'its value']);
    expect(opsOf(after).filter((op) => /QuantizeLinear/.test(op))).toEqual([]);
  });
});

describe('qc-cuda', () => {
  const inputs: Readonly<Record<string, LinearSpec['input']>> = {
    'clusters of 8 bits': { sizes: [32, 32, 32], scale: [0.025, 0.03, 0.02], zero: [-7, 0, 90], qmin: -128, qmax: 127 },
    'clusters of 4 bits': { sizes: [64, 32], scale: [0.4, 0.3], zero: [0, -6], qmin: -8, qmax: 7 },
    tokens: { block: rows },
    float: null,
  };
  const cases = Object.keys(inputs).flatMap((name) => [8, 4, 3].map((bits) => [name, bits] as const));
  test.each(cases)('%s, weights of %d bits: the kernels of qc-cpu, on f16', async (name, bits) => {
    const graph = linear(spec({ input: inputs[name]!, weight: weightOf([64, 32], bits) }));
    const [cpu, cuda] = [await lowered(graph, 'qc-cpu', x), await lowered(graph, 'qc-cuda', x)];
    const kernels = (r: Run): readonly string[] => opsOf(r.graph).filter((op) => op.startsWith('qc.'));
    expect(kernels(cuda)).toEqual(kernels(cpu));
    expect(cuda.report).toEqual(cpu.report);
    // Where kernels round x to codes, one that lies between two may fall to either side.
    expect(cuda.difference).toBeLessThan(name === 'float' ? rounding : 2e-2);
    expect(opsOf(cuda.graph)).not.toContain('DequantizeLinear');
    if (name === 'float' && bits === 8) expect(opsOf(cuda.graph)).toEqual(between('MatMul', 'Add'));
  });
  test('scales, zero points and offsets stay f32, biases are f16', async () => {
    const { graph } = await lowered(linear(spec({ input: inputs['clusters of 8 bits']! })), 'qc-cuda', x);
    const product = [...graph.nodes].find((n) => n.op === 'qc.ClusterMatMul')!;
    expect(product.operands.slice(0, 6).map((u) => u.value?.type?.dtype)).toEqual(['u8', 'u8', 'f32', 'f16', 'i8', 'f32']);
  });
});

test.each([
  ['qc-cuda', ['qc.LayerNormReorderQuantize', 'qc.ClusterMatMul']],
  ['ort-cuda', ['LayerNormalization', 'com.microsoft.MatMulNBits', 'Add', 'Add']],
])('a quantized model whose floats are f16 already needs no Cast for %s', async (target, ops) => {
  const source = parseGraph(`graph @f(%x: f16[1,3,64], %r: f16[1,3,32]) {
    const %g: f16[64] = random 4 const %w: f16[64,32] = random 3 const %b: f16[32] = random 5
    const %s: f32[1] = [0.02] const %z: f32[1] = [3.0] const %i: i64[64] = splat 0
    const %ws: f32[1,32] = splat 0.008 const %wz: f32[1,32] = splat 2.0
    %h: f16[1,3,64] = LayerNormalization(%x, %g)
    %q: f16[1,3,64] = qc.FakeQuantize(%h, %s, %z, %i) {qmin = -128, qmax = 127}
    %wq: f16[64,32] = qc.FakeQuantize(%w, %ws, %wz, %i) {qmin = -128, qmax = 127}
    %m: f16[1,3,32] = MatMul(%q, %wq)
    %a: f16[1,3,32] = Add(%m, %b)
    %y: f16[1,3,32] = Add(%a, %r)
    return %y
  }`);
  const half = (shape: readonly number[], seed: number): HostTensor => ({
    dtype: 'f16',
    shape,
    data: Uint16Array.from(numbers(sizeOf(shape), seed), halfFromFloat),
  });
  const { graph, difference } = await lowered(source, target, { x: half([1, 3, 64], 5), r: half([1, 3, 32], 6) });
  expect(opsOf(graph)).toEqual(target === 'qc-cuda' ? [...ops, 'Add'] : ops);
  expect(graph.outputs.map((v) => [v.name, v.type!.dtype])).toEqual([['y', 'f16']]);
  expect(difference).toBeLessThan(1e-2);
});

/** Constants of more than a few elements that are f32, but for the scales and offsets of kernels. */
const wideConstants = (graph: Graph): readonly string[] => {
  const ofKernels = new Set([...graph.nodes].filter((n) => n.op.startsWith('qc.')).flatMap((n) => n.operands.map((u) => u.value)));
  return [...graph.constants]
    .filter((c) => c.type!.dtype === 'f32' && sizeOf(c.constant!.shape) > 4 && !ofKernels.has(c))
    .map((c) => c.name);
};

describe.each(['ort-cuda', 'qc-cuda'])('whole blocks for %s', (target) => {
  test.each(['pre-LN block', 'post-LN block', 'block with shared key heads', 'mlp with gelu', 'gpt2-tiny-op17', 'bert-tiny-sdpa-op17'])(
    '%s',
    async (name) => {
      for (const [scheme, methods] of [
        ['w8a8', 'os+{threshold=2},fold-channels,'],
        ...(name.includes('tiny') ? [] : [['w4a16', ''] as const, ['os+-int6-token', ''] as const]),
      ] as const) {
        const { open, samples } = subject(name);
        const graph = open();
        const quantize = `quantize{scheme=${scheme}${target === 'qc-cuda' ? ' zeros=free' : ''}}`;
        await runPipeline(fusing, graph, `raise,fold-constants,mark-sites{scheme=${scheme}},observe,calibrate,${methods}${quantize}`, {
          samples,
        });
        const { graph: after, difference } = await lowered(graph, target, samples[0]!);
        // At 6 bits, a code that falls to the other side moves its row by a sixtieth.
        expect(difference).toBeLessThan(scheme === 'os+-int6-token' && target === 'qc-cuda' ? 0.25 : 5e-2);
        expect(wideConstants(after)).toEqual([]);
        expect([...after.nodes].filter((n) => n.op === 'Softmax').map((n) => n.output.type!.dtype)).not.toContain('f16');
        for (const v of after.outputs) expect(v.type!.dtype).toBe('f32');
        if (target === 'ort-cuda') expect(opsOf(after).filter((op) => /QuantizeLinear|^qc\./.test(op))).toEqual([]);
      }
    },
  );
});

describe('what the targets ask of the passes', () => {
  const asked = (pipeline: string, scheme: string, target: string): string =>
    formatPipeline(effectivePipeline(new PassManager(passes), { passes: pipeline, scheme, target: targetNamed(targets, target) }));
  test.each(['rptq,os+ w4a8', 'os+ w8a8', 'none w4a16'])('qc-cuda what qc-cpu asks: %s', (way) => {
    const [pipeline = '', scheme = ''] = way.split(' ');
    expect(asked(pipeline, scheme, 'qc-cuda')).toBe(asked(pipeline, scheme, 'qc-cpu'));
  });
  test('ort-cuda one scale for inputs and columns where MatMulInteger may take them, else blocks', () => {
    expect(asked('os+', 'os+-int8', 'ort-cuda')).toMatch(/quantize\{scheme=os\+-int8 (?=.*activations=tensor).*weights=channel/);
    expect(asked('none', 'w4a16', 'ort-cuda')).toMatch(/quantize\{scheme=w4a16 .*weights=block/);
    expect(asked('rptq', 'w8a8', 'ort-cuda')).toMatch(/rptq\{align=32 unordered="ort-cuda has inputs in float; .*weights=block/);
  });
});

describe('a trained OPT', () => {
  const demo = 'examples/demo';
  const model = join(demo, 'model.onnx');
  const text = (file: string, samples: number) => ({
    files: [join(demo, file)],
    tokenizer: join(demo, 'tokenizer.json'),
    seq: 64,
    samples,
  });
  const perplexityOf = async (path: string): Promise<number> =>
    (await evaluate({ model: path, data: text('heldout.txt', 12), threads: 1 })).perplexity!;

  test('for kernels on CUDA has the perplexity that it has for those on the CPU, and fewer bytes', async () => {
    const [cuda, cpu] = [join(folder, 'cuda.onnx'), join(folder, 'cpu.onnx')];
    let quantized: Graph | null = null;
    const report = await compile({
      model,
      output: cuda,
      data: text('calibration.txt', 8),
      threads: 1,
      passes: 'rptq,os+{steps=4}',
      scheme: 'w4a8',
      target: 'qc-cuda',
      afterPass: ({ name }, graph) => void (quantized = name === 'dead-code' ? cloneGraph(graph) : quantized),
    });
    lowerTo(targetNamed(targets, 'qc-cpu'), quantized!);
    settleOpset(quantized!);
    const [written] = writeModel(quantized!, cpu).files;
    // Eight samples are few.
    expect(report.diagnostics.map((d) => d.code)).toEqual(['QC3203']);
    expect(report.bytesAfter).toBeLessThan(0.75 * written!.bytes);
    expect(Math.abs((await perplexityOf(cuda)) / (await perplexityOf(cpu)) - 1)).toBeLessThan(1e-2);
    const ops = opsOf(readModel(cuda));
    expect(ops.filter((op) => op.startsWith('qc.ClusterMatMul'))).toHaveLength(24);
    expect(ops.filter((op) => op === 'qc.LayerNormReorderQuantize')).toHaveLength(8);
  }, 240_000);

  test('that overflows in f16 on the probe is warned of', async () => {
    const path = join(folder, 'large.onnx');
    writeModel(parseGraph('graph @g(%x: f32[1,8]) { const %w: f32[8,4] = splat 60000.0 %y: f32[1,4] = MatMul(%x, %w) return %y }'), path);
    const way = { model: path, output: join(folder, 'overflow.onnx'), passes: 'none', scheme: 'w4a16', biasCorrect: false };
    expect((await compile({ ...way, target: 'ort-cuda' })).diagnostics.map((d) => d.code)).toEqual(['QC4005']);
    expect((await compile({ ...way, target: 'ort-cpu' })).diagnostics).toEqual([]);
  });

  test('for stock CUDA has MatMulNBits for every linear, and nothing that quantizes', async () => {
    const output = join(folder, 'ort.onnx');
    const report = await compile({
      model,
      output,
      data: text('calibration.txt', 8),
      threads: 1,
      passes: 'none',
      scheme: 'w8a8',
      target: 'ort-cuda',
    });
    const graph = readModel(output);
    expect(opsOf(graph).filter((op) => op === 'com.microsoft.MatMulNBits')).toHaveLength(24);
    expect(opsOf(graph).filter((op) => /Quantize|^qc\./.test(op))).toEqual([]);
    expect(wideConstants(graph)).toEqual([]);
    const linears = report.ledger.filter((e) => e.kind === 'linear' && e.done.length > 0);
    expect(linears).toHaveLength(24);
    for (const { left } of linears)
      expect(left).toEqual([expect.stringMatching(/^its input stays in float: a product of \d+ rows is too short/)]);
    expect(report.loweringDifference).toBeLessThan(1e-2);
    // Measured: 1.2 %, all of it from the weights; f16 alone costs 0.03 %.
    expect((await perplexityOf(output)) / (await perplexityOf(model)) - 1).toBeLessThan(2e-2);
  }, 120_000);
});
