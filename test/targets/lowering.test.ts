import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { InferenceSession } from 'onnxruntime-node';
import { lowerTo, readModel, settleOpset, targetNamed, targets, writeModel } from '../../codegen/index.ts';
import { decodeModel, toNumber } from '../../codegen/onnx/proto.ts';
import { readFileSync } from 'node:fs';
import { cloneGraph, dense, fakeQuantize, Graph, inMemory, int, integers, lazy, Node, parseGraph, sites, verify } from '../../ir/index.ts';
import { packedInt4, quantizedWeight, runs } from '../../codegen/targets/quantized.ts';
import { largestDifference, runOnce, type Feeds } from '../../passes/index.ts';
import { elements, errorOf, f32, i64, numbers, opsOf, plainExecutor, randomFeed, runPipeline } from '../support/run.ts';
import { maskedSamples, subject } from '../passes/zoo.ts';
import { linear, scales, zeros, type LinearSpec, type Quantizer } from './linear.ts';

const executor = plainExecutor();
const folder = mkdtempSync(join(tmpdir(), 'qc-targets-'));
afterAll(async () => {
  await executor.close();
  rmSync(folder, { recursive: true });
});

/** Lowers a copy and gives both graphs' outputs, run without ONNX Runtime's rewriting. */
async function both(
  graph: Graph,
  target: string,
  feeds: Feeds,
): Promise<{ readonly before: Feeds; readonly after: Feeds; readonly lowered: Graph }> {
  const lowered = cloneGraph(graph);
  lowerTo(targetNamed(targets, target), lowered);
  settleOpset(lowered);
  verify(lowered);
  return { before: await runOnce(executor, graph, feeds), after: await runOnce(executor, lowered, feeds), lowered };
}
const feeds = (rows: number, seed = 5): Feeds => ({ x: randomFeed([1, 7, rows], seed, 3) });

describe.each(['portable', 'ort-cpu'])('%s computes what the fake-quantized graph computes', (target) => {
  const rows = 48;
  const columns = 5;
  const w = numbers(rows * columns, 9);
  const inputs: Readonly<Record<string, Quantizer>> = {
    'one scale of 8 bits': { sizes: [rows], scale: [0.025], zero: [-7], qmin: -128, qmax: 127 },
    'symmetric 8 bits': { sizes: [rows], scale: [0.025], zero: [0], qmin: -127, qmax: 127 },
    '6 bits': { sizes: [rows], scale: [0.11], zero: [3], qmin: -32, qmax: 31 },
    '4 bits': { sizes: [rows], scale: [0.4], zero: [-1], qmin: -8, qmax: 7 },
    '3 bits': { sizes: [rows], scale: [0.8], zero: [1], qmin: -4, qmax: 3 },
    'uneven clusters': { sizes: [1, 30, 17], scale: [0.05, 0.02, 0.03], zero: [0, -20, 9], qmin: -128, qmax: 127 },
    'clusters of 4 bits': { sizes: [7, 41], scale: [0.4, 0.3], zero: [0, -6], qmin: -8, qmax: 7 },
    'clusters whose zero points do not fit': { sizes: [16, 32], scale: [0.05, 0.07], zero: [300, -9000], qmin: -128, qmax: 127 },
    'one zero point that does not fit': { sizes: [rows], scale: [0.05], zero: [-150], qmin: -128, qmax: 127 },
  };
  const weights: Readonly<Record<string, Quantizer>> = {
    '8 bits for each column': { sizes: [rows], scale: scales(columns, 1, 0.006), zero: zeros(columns, 2, 60), qmin: -128, qmax: 127 },
    'symmetric 8 bits': { sizes: [rows], scale: scales(columns, 1, 0.006), zero: zeros(columns, 2, 0), qmin: -127, qmax: 127 },
    '4 bits for each column': { sizes: [rows], scale: scales(columns, 1, 0.1), zero: zeros(columns, 2, 5), qmin: -8, qmax: 7 },
    'symmetric 4 bits': { sizes: [rows], scale: scales(columns, 1, 0.1), zero: zeros(columns, 2, 0), qmin: -7, qmax: 7 },
    '3 bits': { sizes: [rows], scale: scales(columns, 1, 0.2), zero: zeros(columns, 2, 2), qmin: -4, qmax: 3 },
    'even groups of 4 bits': { sizes: [16, 16, 16], scale: scales(3 * columns, 1, 0.1), zero: zeros(3 * columns, 2, 5), qmin: -8, qmax: 7 },
    'groups with a short last one': {
      sizes: [20, 20, 8],
      scale: scales(3 * columns, 1, 0.1),
      zero: zeros(3 * columns, 2, 5),
      qmin: -8,
      qmax: 7,
    },
    'uneven groups': { sizes: [1, 30, 17], scale: scales(3 * columns, 1, 0.01), zero: zeros(3 * columns, 2, 90), qmin: -128, qmax: 127 },
    'groups whose zero points do not fit': {
      sizes: [16, 32],
      scale: scales(2 * columns, 1, 0.1),
      zero: zeros(2 * columns, 2, 60),
      qmin: -8,
      qmax: 7,
    },
    'scales that are multiples of one': {
      sizes: [16, 32],
      scale: [...Array(columns).fill(0.125), ...Array(columns).fill(0.375)] as number[],
      zero: zeros(2 * columns, 2, 5),
      qmin: -8,
      qmax: 7,
    },
  };
  test.each(Object.entries(inputs))('input: %s', async (_, input) => {
    const graph = linear({ input, weight: weights['8 bits for each column']!, rows, columns, bias: true, w });
    const { before, after } = await both(graph, target, feeds(rows));
    expect(largestDifference(before, after)).toBeLessThan(1e-6);
  });
  test.each(Object.entries(weights))('weight: %s', async (_, weight) => {
    for (const input of [inputs['one scale of 8 bits']!, null]) {
      const { before, after } = await both(linear({ input, weight, rows, columns, w }), target, feeds(rows));
      expect(largestDifference(before, after)).toBeLessThan(1e-6);
    }
  });
  test('a quantized value that no product reads gets an offset back where it is read, as a result of the model too', async () => {
    const text = `graph @bare(%x: f32[B,S,3]) {
      const %s: f32[2] = [0.1, 0.2]
      const %z: f32[2] = [300.0, -700.0]
      const %i: i64[3] = [0, 1, 1]
      %q: f32[B,S,3] = qc.FakeQuantize(%x, %s, %z, %i) {qmin = -128, qmax = 127}
      %r: f32[B,S,3] = Relu(%q)
      return OUTPUTS
    }`;
    for (const outputs of ['%r', '%q', '%q, %r']) {
      const { before, after, lowered } = await both(parseGraph(text.replace('OUTPUTS', outputs)), target, {
        x: f32([1, 2, 3], [-35, 150, 130, -20, 140, 160]),
      });
      expect(largestDifference(before, after)).toBeLessThan(1e-6);
      expect(lowered.outputs.map((v) => `%${v.name}`).join(', ')).toBe(outputs);
    }
  });
  test('for each token, symmetric or not, in blocks or not', async () => {
    for (const attributes of [
      'qmin = -8, qmax = 7',
      'qmin = -128, qmax = 127',
      'qmin = -127, qmax = 127, symmetric = 1',
      'qmin = -7, qmax = 7, symmetric = 1, block = 4',
      'qmin = -8, qmax = 7, block = 12',
    ]) {
      const graph = parseGraph(`graph @token(%x: f32[B,S,12]) { %q: f32[B,S,12] = qc.DynamicQuantize(%x) {${attributes}} return %q }`);
      const { before, after } = await both(graph, target, { x: f32([1, 4, 12], [...numbers(36, 3), ...new Float32Array(12)]) });
      expect(largestDifference(before, after)).toBeLessThan(1e-6);
    }
  });
  test('of a whole quantized block, with the attention in pieces', async () => {
    for (const name of ['pre-LN block', 'post-LN block', 'block with shared key heads', 'mlp with gelu']) {
      const { open, samples } = subject(name);
      for (const [scheme, passes] of [
        ['w8a8', 'os+{threshold=2},fold-channels'],
        ['rptq-w4a8', 'rptq{r1=4 r2=2 r3=2 r4=4 r5=4},fold-channels'],
        ['os+-int6-token', 'os+{threshold=2},fold-channels'],
      ] as const) {
        const graph = open();
        await runPipeline(executor, graph, `raise,mark-sites{scheme=${scheme}},observe,calibrate,${passes},quantize{scheme=${scheme}}`, {
          samples,
        });
        const { before, after, lowered } = await both(graph, target, samples[0]!);
        expect(largestDifference(before, after)).toBeLessThan(1e-6);
        expect([...lowered.nodes].filter((n) => n.op.startsWith('qc.'))).toEqual([]);
        if (name !== 'block with shared key heads') expect(opsOf(lowered)).not.toContain('Attention');
      }
    }
  });
});

describe('zero points', () => {
  test('never wrap, whatever the range', async () => {
    const quantizer = fc.record({
      scale: fc.constantFrom(1e-4, 0.01, 1, 300),
      zero: fc.integer({ min: -10_000, max: 10_000 }),
      bits: fc.constantFrom(3, 4, 8),
    });
    await fc.assert(
      fc.asyncProperty(quantizer, quantizer, fc.constantFrom('portable', 'ort-cpu'), async (a, b, target) => {
        const codes = (bits: number) => ({ qmin: -(2 ** (bits - 1)), qmax: 2 ** (bits - 1) - 1 });
        const input = { sizes: [32], scale: [Math.fround(a.scale)], zero: [a.zero], ...codes(a.bits) };
        const weight = { sizes: [16, 16], scale: [Math.fround(b.scale), 0.5], zero: [b.zero, 1], ...codes(b.bits) };
        // Values in the middle of steps' insides, so that rounding an offset cannot move them over an edge.
        const at = (code: number): number => (code + 0.2) * a.scale;
        const values = Array.from({ length: 32 }, (_, i) => Math.fround(at(i - 16 - a.zero)));
        const x = f32([1, 1, 32], values);
        const w = Float32Array.from({ length: 32 }, (_, i) => ((i % 7) - 3 - (i < 16 ? b.zero : 1) + 0.2) * (i < 16 ? b.scale : 0.5));
        const graph = linear({ input, weight, rows: 32, columns: 1, w });
        const { after, lowered } = await both(graph, target, { x });
        const expected = values.reduce(
          (sum, v, i) =>
            sum +
            fakeQuantize(v, { scale: input.scale[0]!, zero: a.zero }, a.bits, false) *
              fakeQuantize(w[i]!, { scale: weight.scale[i < 16 ? 0 : 1]!, zero: i < 16 ? b.zero : 1 }, b.bits, false),
          0,
        );
        const size = values.reduce((sum, v, i) => sum + Math.abs(v * w[i]!), 0);
        expect(Math.abs(elements(after, 'y')[0]! - expected)).toBeLessThanOrEqual(1e-3 * size);
        for (const c of lowered.constants)
          if (c.name.includes('zero_point') && c.type!.dtype !== 'i4')
            for (const z of integers(c.constant!)) expect(z).toBeLessThanOrEqual(255);
      }),
      { numRuns: 40 },
    );
  });
});

describe('int4', () => {
  test("is packed as ONNX Runtime's DequantizeLinear reads it", async () => {
    for (const count of [1, 2, 7, 16]) {
      const codes = Int8Array.from({ length: count }, (_, i) => ((i * 5) % 16) - 8);
      const graph = new Graph('int4');
      const packed = graph.addConstant('codes', packedInt4(inMemory('i8', [count], codes)));
      const scale = graph.addConstant('scale', dense([], [1]));
      graph.addOutput(
        graph.append(new Node({ op: 'DequantizeLinear', inputs: [packed, scale], results: [{ name: 'y', type: null }] })).output,
      );
      expect([...elements(await runOnce(executor, graph, {}), 'y')]).toEqual([...codes]);
    }
  });
  test('runs of equal groups are counted', () => expect([runs([0, 0, 1, 2, 2, 2]), runs([]), runs([0])]).toEqual([[2, 1, 3], [], [1]]));
});

test('uneven groups give what the same scales in even groups give', async () => {
  const [rows, columns] = [32, 3];
  const w = numbers(rows * columns, 4);
  const [scale, zero] = [scales(2 * columns, 1, 0.1), zeros(2 * columns, 2, 5)];
  const row = (v: readonly number[], g: number): readonly number[] => v.slice(g * columns, (g + 1) * columns);
  const of = (sizes: readonly number[], groups: readonly number[]): Quantizer => ({
    sizes,
    scale: groups.flatMap((g) => row(scale, g)),
    zero: groups.flatMap((g) => row(zero, g)),
    qmin: -8,
    qmax: 7,
  });
  // 24 and 8 rows, and the same in runs of eight.
  const [uneven, even] = [of([8, 24], [0, 1]), of([8, 8, 8, 8], [0, 1, 1, 1])];
  const run = async (weight: Quantizer) => both(linear({ input: null, weight, rows, columns, w }), 'portable', feeds(rows));
  const [a, b] = [await run(uneven), await run(even)];
  expect(opsOf(a.lowered)).toContain('Gather');
  expect(opsOf(b.lowered)).not.toContain('Gather');
  expect(largestDifference(a.after, b.after)).toBeLessThan(1e-6);
});

describe('MatMulNBits', () => {
  const columns = 3;
  const cases = [
    { bits: 4, block: 16, rows: 32, symmetric: false, bias: true },
    { bits: 4, block: 32, rows: 64, symmetric: true, bias: false },
    { bits: 4, block: 16, rows: 40, symmetric: false, bias: false },
    { bits: 8, block: 32, rows: 64, symmetric: false, bias: true },
    { bits: 3, block: 16, rows: 48, symmetric: false, bias: false },
  ] as const;
  test.each(cases)(
    'of $bits bits in blocks of $block, $rows rows, symmetric $symmetric, bias $bias: plain arithmetic',
    async ({ bits, block, rows, symmetric, bias }) => {
      const groups = Math.ceil(rows / block);
      const sizes = Array.from({ length: groups }, (_, g) => Math.min(block, rows - g * block));
      const [qmin, qmax] = [-(2 ** (bits - 1)) + (symmetric ? 1 : 0), 2 ** (bits - 1) - 1];
      const weight: Quantizer = {
        sizes,
        scale: scales(groups * columns, 1, 2 / 2 ** bits),
        zero: symmetric ? new Array<number>(groups * columns).fill(0) : zeros(groups * columns, 2, qmax),
        qmin,
        qmax,
      };
      const w = numbers(rows * columns, 8);
      const graph = linear({ input: null, weight, rows, columns, bias, w });
      const { after, lowered } = await both(graph, 'ort-cpu', feeds(rows));
      expect(opsOf(lowered)).toEqual(['com.microsoft.MatMulNBits']);
      const x = feeds(rows)['x']!.data as Float32Array;
      const b = bias ? numbers(columns, 77) : new Float32Array(columns);
      const got = elements(after, bias ? 'z' : 'y');
      for (let t = 0; t < 7; t++)
        for (let c = 0; c < columns; c++) {
          let sum = b[c]!;
          for (let r = 0; r < rows; r++) {
            const g = Math.floor(r / block) * columns + c;
            const p = { scale: weight.scale[g]!, zero: weight.zero[g]! };
            const code = Math.min(Math.max(Math.round(w[r * columns + c]! / p.scale) + p.zero, qmin), qmax);
            sum += x[t * rows + r]! * (code - p.zero) * p.scale;
          }
          expect(got[t * columns + c]!).toBeCloseTo(sum, 3);
        }
    },
  );
  test('with 8-bit blocks at its input computes about what the fake quantizers do', async () => {
    const rows = 64;
    const weight: Quantizer = { sizes: [32, 32], scale: scales(2 * columns, 1, 0.12), zero: zeros(2 * columns, 2, 5), qmin: -8, qmax: 7 };
    const { before, after, lowered } = await both(
      linear({ input: { block: 32 }, weight, rows, columns, w: numbers(rows * columns, 8) }),
      'ort-cpu',
      feeds(rows),
    );
    expect(opsOf(lowered)).toEqual(['com.microsoft.MatMulNBits']);
    expect([...lowered.nodes][0]!.attributes.get('accuracy_level')).toEqual(int(4));
    expect(largestDifference(before, after)).toBeLessThan(0.02);
  });
  test('is not used where its blocks, its bits, its zero points or its bias do not fit', async () => {
    const base = { rows: 32, columns: 2, w: numbers(64, 3) };
    const weight = (more: Partial<Quantizer>): Quantizer => ({
      sizes: [16, 16],
      scale: scales(4, 1, 0.1),
      zero: zeros(4, 2, 5),
      qmin: -8,
      qmax: 7,
      ...more,
    });
    const six = { qmin: -32, qmax: 31 };
    const lowered = async (spec: Omit<LinearSpec, 'rows' | 'columns' | 'w'>) =>
      (await both(linear({ ...base, ...spec }), 'ort-cpu', feeds(32))).lowered;
    expect(opsOf(await lowered({ input: null, weight: weight({}) }))).toContain('com.microsoft.MatMulNBits');
    expect(opsOf(await lowered({ input: null, weight: weight({ sizes: [16, 16] }) }))).toContain('com.microsoft.MatMulNBits');
    expect(opsOf(await lowered({ input: null, weight: weight({ sizes: [8, 24] }) }))).not.toContain('com.microsoft.MatMulNBits');
    expect(opsOf(await lowered({ input: null, weight: weight({ zero: [3, -40, 1, 2] }) }))).not.toContain('com.microsoft.MatMulNBits');
    expect(opsOf(await lowered({ input: { sizes: [32], scale: [0.1], zero: [0], ...six }, weight: weight({}) }))).not.toContain(
      'com.microsoft.MatMulNBits',
    );
  });
  test('leaves a bias of one element in its Add', async () => {
    const graph = linear({
      input: null,
      weight: { sizes: [16], scale: scales(2, 1, 0.1), zero: [0, 1], qmin: -8, qmax: 7 },
      rows: 16,
      columns: 2,
      w: numbers(32, 3),
    });
    const one = graph.addConstant('one', dense([1], [5]));
    const y = graph.outputs[0]!;
    graph.setOutputs([graph.append(new Node({ op: 'Add', inputs: [y, one], results: [{ name: 'sum', type: y.type }] })).output]);
    const { before, after, lowered } = await both(graph, 'ort-cpu', feeds(16));
    expect(opsOf(lowered)).toEqual(['com.microsoft.MatMulNBits', 'Add']);
    expect(largestDifference(before, after)).toBeLessThan(1e-5);
  });
});

describe('rotary embeddings', () => {
  test.each([
    ['of heads on an axis of their own', '[2,3,5,8]', '[2,5,4]', ''],
    ['of tokens', '[2,5,24]', '[2,5,4]', 'num_heads = 3'],
    ['of a part of each head', '[2,5,24]', '[2,5,2]', 'num_heads = 3, rotary_embedding_dim = 4'],
    ['of neighbours', '[2,3,5,8]', '[2,5,4]', 'interleaved = 1'],
    ['of neighbours in a part of each head', '[2,5,24]', '[2,5,2]', 'num_heads = 3, rotary_embedding_dim = 4, interleaved = 1'],
    ['of heads by positions', '[2,3,5,8]', '[7,4]', ''],
    ['of neighbours by positions', '[2,5,24]', '[7,4]', 'num_heads = 3, interleaved = 1'],
  ])('%s are primitives of opset 21 that compute the same', async (_, x, table, attributes) => {
    const positions = table.split(',').length === 2;
    const graph = parseGraph(`graph @rotary(%x: f32${x}, %c: f32${table}, %s: f32${table}, %i: i64[2,5]) {
      %y: f32${x} = RotaryEmbedding(%x, %c, %s${positions ? ', %i' : ''}) {${attributes}}
      %z: i64[2,5] = Neg(%i) return %y, %z }`);
    const random = (name: 'x' | 'c' | 's', seed: number) =>
      randomFeed(graph.inputs.find((v) => v.name === name)!.type!.shape as number[], seed);
    const given = { x: random('x', 1), c: random('c', 2), s: random('s', 3), i: i64([2, 5], [3, 4, 5, 6, 0, 1, 1, 2, 3, 0]) };
    const { before, after, lowered } = await both(graph, 'portable', given);
    expect(largestDifference(before, after)).toBeLessThan(1e-6);
    expect(opsOf(lowered)).not.toContain('RotaryEmbedding');
    expect(lowered.opsets.get('')).toBe(21);
  });
  test('two by the same positions take the same rows', () => {
    const graph = parseGraph(`graph @rotary(%x: f32[2,3,5,8], %c: f32[7,4], %s: f32[7,4], %i: i64[2,5]) {
      %y: f32[2,3,5,8] = RotaryEmbedding(%x, %c, %s, %i)
      %z: f32[2,3,5,8] = RotaryEmbedding(%y, %c, %s, %i) return %z }`);
    lowerTo(targetNamed(targets, 'portable'), graph);
    expect(opsOf(graph).filter((op) => op === 'Gather' || op === 'Unsqueeze')).toHaveLength(4);
  });
  test('of unknown width stay, and so does the norm beside them', () => {
    const graph = parseGraph(`graph @rotary(%x: f32[2,3,5,8], %c: f32[2,5,4], %s: f32[2,5,4]) {
      %g: f32[8] = custom.Gain(%x)
      %n: f32[2,3,5,C] = RMSNormalization(%x, %g)
      %y: f32[2,3,5,C] = RotaryEmbedding(%n, %c, %s) return %y }`);
    lowerTo(targetNamed(targets, 'portable'), graph);
    settleOpset(graph);
    expect(opsOf(graph)).toEqual(['custom.Gain', 'RMSNormalization', 'RotaryEmbedding']);
    expect(graph.opsets.get('')).toBe(23);
  });
});

describe('what ONNX Runtime makes of it', () => {
  /** The operators of the model after ONNX Runtime's own rewriting. */
  async function optimized(graph: Graph, name: string): Promise<readonly string[]> {
    const [path, out] = [join(folder, `${name}.onnx`), join(folder, `${name}-optimized.onnx`)];
    writeModel(graph, path);
    const session = await InferenceSession.create(path, {
      graphOptimizationLevel: 'extended',
      optimizedModelFilePath: out,
      logSeverityLevel: 4,
    });
    await session.release();
    return opsOf(readModel(out));
  }
  test('one operator of the primitives of a norm', async () => {
    const norm = parseGraph(`graph @norm(%x: f32[1,7,16]) {
      const %g: f32[16] = random 1
      %r: f32[1,7,16] = Relu(%x)
      %n: f32[1,7,16] = RMSNormalization(%r, %g) {epsilon = 0.001}
      %y: f32[1,7,16] = Neg(%n)
      return %y
    }`);
    const { before, after, lowered } = await both(norm, 'ort-cpu', feeds(16));
    expect(largestDifference(before, after)).toBeLessThan(1e-6);
    expect(lowered.opsets.get('')).toBe(21);
    expect(await optimized(lowered, 'norm')).toEqual(['Relu', 'SimplifiedLayerNormalization', 'Neg']);
  });
  test.each([
    ['w8a8', 'os+{threshold=2},fold-channels', 'pre-LN block', '', 'fused static int8'],
    ['w8a8', 'os+{threshold=2},fold-channels', 'post-LN block', '', 'fused static int8'],
    ['w8a8', 'none', 'pre-LN block', '', 'fused static int8'],
    [
      'w4a8',
      'os+{threshold=2},fold-channels',
      'pre-LN block',
      ' weights=block block=8 activations=tensor multiples',
      'fused static int8, weight stored in 4 bits',
    ],
  ])('%s after %s: every quantized linear of the %s is one integer product', async (scheme, passes, name, layout, done) => {
    const { open, samples } = subject(name);
    const graph = open();
    const between = passes === 'none' ? '' : `${passes},`;
    await runPipeline(
      executor,
      graph,
      `raise,mark-sites{scheme=${scheme}},observe,calibrate,${between}quantize{scheme=${scheme}${layout}}`,
      { samples },
    );
    const linears = [...graph.nodes].filter((n) => n.op === 'MatMul' && quantizedWeight(n.input(1))).length;
    expect(linears).toBe(7);
    const { report } = lowerTo(targetNamed(targets, 'ort-cpu'), graph);
    expect(report.map((r) => r.done)).toEqual(new Array(7).fill(done));
    settleOpset(graph);
    const ops = await optimized(graph, `${scheme}-${name.replace(' ', '-')}-${passes.length}`);
    expect(ops.filter((op) => op === 'com.microsoft.MatMulIntegerToFloat')).toHaveLength(linears);
    // Attention keeps its two products.
    expect(ops.filter((op) => op === 'MatMul' || op === 'com.microsoft.FusedMatMul')).toHaveLength(2);
  });
});

describe('what is written', () => {
  const quantized = async (): Promise<Graph> => {
    const graph = subject('pre-LN block').open();
    await runPipeline(executor, graph, 'raise,mark-sites,observe,calibrate,os+{threshold=2},fold-channels,quantize', {
      samples: maskedSamples,
    });
    expect(sites(graph)).toEqual([]);
    return graph;
  };
  test('for portable is opset 21 and IR version 10, with standard operators alone', async () => {
    const graph = await quantized();
    lowerTo(targetNamed(targets, 'portable'), graph);
    settleOpset(graph);
    const path = join(folder, 'portable.onnx');
    writeModel(graph, path);
    const model = decodeModel(readFileSync(path));
    expect(model.opsetImport?.map((o) => [o.domain ?? '', toNumber(o.version)])).toEqual([['', 21]]);
    expect(toNumber(model.irVersion)).toBe(10);
    expect(model.functions ?? []).toEqual([]);
    expect(opsOf(graph).filter((op) => op.includes('.'))).toEqual([]);
  });
  test('a name that is no target is an error that lists them', () => {
    expect(errorOf(() => targetNamed(targets, 'tpu'))?.message).toMatch(
      /error QC2006: no target 'tpu'\n {2}hint: targets: ort-cpu, qc-cpu, ort-cuda, qc-cuda, portable/,
    );
  });
  test('an operator that the target lacks is QC4001', () => {
    const graph = parseGraph('graph @g(%x: f32[2]) { %y: f32[2] = qc.Unknown(%x) return %y }');
    expect(errorOf(() => lowerTo(targetNamed(targets, 'portable'), graph))?.message).toContain('error QC4001: portable has no qc.Unknown');
  });
  test('blocks that do not divide the channels are refused, not cut across rows', () => {
    const graph = parseGraph(
      'graph @g(%x: f32[B,12]) { %y: f32[B,12] = qc.DynamicQuantize(%x) {block = 8, symmetric = 1, qmin = -127, qmax = 127} return %y }',
    );
    expect(errorOf(() => lowerTo(targetNamed(targets, 'portable'), graph))?.code).toBe('QC4001');
  });
  test('weights are computed when they are written, not before', () => {
    let times = 0;
    const graph = linear({
      input: null,
      weight: { sizes: [16], scale: [0.1], zero: [0], qmin: -127, qmax: 127 },
      rows: 16,
      columns: 1,
      w: numbers(16, 1),
    });
    const w = [...graph.constants].find((c) => c.name === 'w')!;
    const counted = graph.addConstant(
      'counted',
      lazy('f32', [16, 1], () => (times++, numbers(16, 1))),
    );
    graph.replaceUses(w, counted);
    lowerTo(targetNamed(targets, 'portable'), graph);
    expect(times).toBe(0);
  });
});
