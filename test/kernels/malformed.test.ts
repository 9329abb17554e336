import { afterAll, describe, expect, test } from '@jest/globals';
import type { KernelName } from '../../codegen/kernels/bodies/call.ts';
import { dense, inMemory, int, ints, string, type Attributes, type Tensor } from '../../ir/index.ts';
import { runOnce } from '../../passes/index.ts';
import { openKernels } from '../../src/runtime/kernels.ts';
import { OrtExecutor } from '../../src/runtime/ort-executor.ts';
import { graphOf, K, N, sizes, variants, type Variant } from './calls.ts';

const executor = new OrtExecutor({ threads: 1 });
afterAll(() => executor.close());

const built = openKernels().library !== null;
const cases = built ? describe : describe.skip;

/** The variant of an operator that has most: f32, 8 bits, all operands that may be there. */
const fullest = (name: KernelName): Variant =>
  variants[name].filter((v) => v.type === 'f32').reduce((best, v) => (v.optional.length > best.optional.length ? v : best));

interface Wrong {
  readonly attributes?: Attributes;
  readonly operands?: Readonly<Record<string, Tensor>>;
}
type Case = readonly [string, KernelName, Wrong, RegExp];

const bytes = (shape: readonly number[]): Tensor => inMemory('u8', shape, new Uint8Array(shape.reduce((a, b) => a * b, 1)));
const ones = (...shape: readonly number[]): Tensor => dense(shape, new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1));
const G = sizes.groups.length;
const H = sizes.outGroups.length;
const zeros = (code: number): Tensor => inMemory('i8', [G, N], new Int8Array(G * N).fill(code));
const order = (change: readonly number[]): Tensor =>
  inMemory(
    'i32',
    [K],
    Int32Array.from({ length: K }, (_, i) => change[i] ?? i),
  );

const list: readonly Case[] = [
  ['clusters that are no whole steps', 'QuantizeClusters', { attributes: { groups: ints([40, 37]) } }, /multiples of 32/],
  ['an empty cluster', 'QuantizeClusters', { attributes: { groups: ints([0, K]) } }, /groups\[0\] is 0/],
  ['clusters beyond all bounds', 'QuantizeClusters', { attributes: { groups: ints([2n ** 62n, 2n ** 62n]) } }, /groups/],
  ['clusters of other channels', 'QuantizeClusters', { attributes: { groups: ints([32, 32, 64]) } }, /last dimension/],
  ['5 bits', 'QuantizeClusters', { attributes: { bits: int(5) } }, /bits is 5/],
  ['bounds that overflow', 'QuantizeClusters', { attributes: { qmin: int(-(2n ** 40n)) } }, /qmin/],
  ['codes outside the bits', 'QuantizeClusters', { attributes: { bits: int(4) } }, /not a code of 4 bits/],
  ['bounds the wrong way round', 'QuantizeClusters', { attributes: { qmin: int(5), qmax: int(4) } }, /greater than/],
  ['a scale of 0', 'QuantizeClusters', { operands: { scale: dense([G], [1, 0, 1]) } }, /scale/],
  ['a negative scale', 'QuantizeClusters', { operands: { scale: dense([G], [1, -1, 1]) } }, /scale/],
  ['a scale that is no number', 'QuantizeClusters', { operands: { scale: dense([G], [1, NaN, 1]) } }, /scale/],
  ['too few scales', 'QuantizeClusters', { operands: { scale: ones(G - 1) } }, /scale/],
  ['scales of rank 2', 'QuantizeClusters', { operands: { scale: ones(1, G) } }, /scale/],
  ['a zero point between codes', 'QuantizeClusters', { operands: { zero: dense([G], [0, 0.5, 0]) } }, /zero/],
  ['a scalar', 'QuantizeClusters', { operands: { x: ones() } }, /x is a scalar/],
  ['other channels', 'QuantizeClusters', { operands: { x: ones(2, K - 1) } }, /x has shape/],
  ['codes of another width', 'DequantizeClusters', { operands: { codes: bytes([2, 64]) } }, /codes has shape/],
  ['a zero point where there is none', 'QuantizeTokens', { attributes: { symmetric: int(1) } }, /zero/],
  ['one code', 'QuantizeTokens', { attributes: { qmin: int(3), qmax: int(3) } }, /qm/],
  ['an order that leaves the channels', 'LayerNormReorderQuantize', { operands: { order: order([K]) } }, /order/],
  ['a negative order', 'RmsNormReorderQuantize', { operands: { order: order([-1]) } }, /order/],
  ['a short order', 'RmsNormReorderQuantize', { operands: { order: inMemory('i32', [3], new Int32Array(3)) } }, /order/],
  ['a short gamma', 'LayerNormReorderQuantize', { operands: { gamma: ones(K - 1) } }, /gamma/],
  ['a residual that would broadcast', 'LayerNormReorderQuantize', { operands: { residual: ones(1, K) } }, /residual/],
  ['an epsilon below 0', 'RmsNormReorderQuantize', { attributes: { epsilon: { kind: 'float', value: -1 } } }, /epsilon/],
  ['an unknown activation', 'ClusterMatMul', { attributes: { activation: string('tanh') } }, /activation/],
  ['a weight of another width', 'ClusterMatMul', { operands: { weight: bytes([2, 1, 8, 64]) } }, /weight has shape/],
  ['a weight of rank 3', 'ClusterMatMul', { operands: { weight: bytes([3, 8, 64]) } }, /weight has/],
  ['scales of too few clusters', 'ClusterMatMul', { operands: { scale: ones(1, N) } }, /scale has shape/],
  ['zero points of too few clusters', 'ClusterMatMul', { operands: { zero: inMemory('i8', [1, N], new Int8Array(N)) } }, /zero has shape/],
  ['a short bias', 'ClusterMatMul', { operands: { bias: ones(N - 1) } }, /bias has shape/],
  ['token scales without their axis', 'ClusterMatMul', { operands: { token_scale: ones(sizes.rows) } }, /token_scale has shape/],
  ['a multiplier that would broadcast', 'ClusterMatMul', { operands: { multiplier: ones(N) } }, /multiplier has shape/],
  ['a cluster whose sum may overflow', 'ClusterMatMul', { attributes: { groups: ints([70_016]) } }, /./],
  ['codes of too few channels', 'ClusterMatMul', { operands: { codes: bytes([sizes.rows, 64]) } }, /codes has shape/],
  ['output clusters of other channels', 'ClusterMatMulQuantize', { attributes: { out_groups: ints([32, 10]) } }, /out_groups/],
  ['an output scale of 0', 'ClusterMatMulQuantize', { operands: { out_scale: dense([H], [1, 0]) } }, /out_scale/],
  ['output codes outside the bits', 'ClusterMatMulQuantize', { attributes: { out_qmax: int(128) } }, /out_q/],
  ['a zero point that is no code', 'Int4MatMul', { operands: { zero: zeros(8) } }, /zero\[0, 0\] is 8/],
  ['a zero point that is no code', 'Int3MatMul', { operands: { zero: zeros(-5) } }, /zero\[0, 0\] is -5/],
  ['a weight of 8 bits', 'Int4MatMul', { operands: { weight: bytes([3, 3, 8, 64]) } }, /weight has shape/],
  ['other channels', 'Int3MatMul', { operands: { x: ones(2, K - 1) } }, /x has shape/],
];

cases(
  `what is wrong is an error with the operator's name${built ? '' : ' (skipped: the kernels are not built, npm run build:kernels)'}`,
  () => {
    test.each(list)('%s: %s', async (_, name, { attributes = {}, operands = {} }, why) => {
      const variant = fullest(name);
      const run = runOnce(executor, graphOf([{ ...variant, attributes: { ...variant.attributes, ...attributes } }], operands), {});
      await expect(run).rejects.toThrow(new RegExp(`${name}.*${why.source}`));
    });
    test('the same calls without a mistake run', async () => {
      for (const name of new Set(list.map(([, n]) => n))) await runOnce(executor, graphOf([fullest(name)]), {});
    });
  },
);
