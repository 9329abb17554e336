import { afterAll, describe, expect, test } from '@jest/globals';
import { kernelOperators } from '../../codegen/kernels/operators.ts';
import type { KernelName } from '../../codegen/kernels/bodies/call.ts';
import { floatsFromHalf } from '../../ir/float16.ts';
import { runOnce, type Feeds, type HostTensor } from '../../passes/index.ts';
import { OrtExecutor } from '../../src/runtime/ort-executor.ts';
import { openKernels } from '../../src/runtime/kernels.ts';
import { graphOf, variants, type FloatType, type Variant } from './calls.ts';

const bodies = new OrtExecutor({ threads: 1, kernels: 'off', optimization: 'disabled' });
const kernels = new OrtExecutor({ threads: 1 });
afterAll(() => Promise.all([bodies.close(), kernels.close()]));

const numbersOf = ({ dtype, data }: HostTensor): readonly number[] =>
  Array.from(dtype === 'f16' ? floatsFromHalf(data as Uint16Array) : (data as Float32Array), Number);

interface Agreement {
  /** The largest difference of float results, of the largest element. */
  readonly worst: Readonly<Record<FloatType, number>>;
  readonly bytes: number;
  readonly otherBytes: number;
}

/** How far the results of one run are from those of another. */
function agreement(a: Feeds, b: Feeds): Agreement {
  const worst = { f32: 0, f16: 0, bf16: 0 };
  let [bytes, otherBytes] = [0, 0];
  for (const [name, t] of Object.entries(a)) {
    const other = b[name]!;
    expect([name, other.dtype, other.shape]).toEqual([name, t.dtype, t.shape]);
    if (t.dtype === 'u8') {
      bytes += t.data.length;
      (t.data as Uint8Array).forEach((x, i) => (otherBytes += x === other.data[i] ? 0 : 1));
    } else {
      const [x, y] = [numbersOf(t), numbersOf(other)];
      const size = Math.max(...x.map(Math.abs));
      const apart = Math.max(...x.map((v, i) => Math.abs(v - y[i]!)));
      const type = name.endsWith('bf16') ? 'bf16' : (t.dtype as 'f32' | 'f16');
      worst[type] = Math.max(worst[type], apart / size);
    }
  }
  return { worst, bytes, otherBytes };
}

// ONNX Runtime takes long to inline the bodies of hundreds of calls at once.
const portions = (list: readonly Variant[]): readonly (readonly Variant[])[] =>
  Array.from({ length: Math.ceil(list.length / 8) }, (_, i) => list.slice(8 * i, 8 * (i + 1)));

/**
 * Bodies of products and norms are made of parts, and these have all of them: every set of operands and every activation at one choice of
 * widths, and every choice of widths with one set and one activation.
 */
function hasNewParts(v: Variant): boolean {
  if (v.name.startsWith('ClusterMatMul'))
    return (
      (isInt(v, 'a_bits', 8) && isInt(v, 'w_bits', 4)) ||
      (v.optional.join() === 'zero,offset,multiplier' && valueOf(v, 'activation') === 'none')
    );
  return !v.name.endsWith('ReorderQuantize') || isInt(v, 'bits', 8) || v.optional.length === 0;
}
const isInt = (v: Variant, name: string, value: number): boolean => valueOf(v, name) === String(value);
/** An attribute in a form that compares. */
const valueOf = (v: Variant, name: string): string => String(v.attributes[name]?.value);

const built = openKernels().library !== null;
const names = Object.keys(kernelOperators) as KernelName[];

// Quantizers of a float that is given agree in every code. Where the float is computed first, it may differ in its last place,
// and a value between two codes fall to either side.
const exact: readonly KernelName[] = ['QuantizeClusters', 'DequantizeClusters', 'QuantizeTokens'];

describe(`every signature that codegen can emit${built ? '' : ', on bodies alone: the library is not built (npm run build:kernels)'}`, () => {
  test.each(names)('%s', async (name) => {
    let [bytes, otherBytes] = [0, 0];
    for (const portion of portions(variants[name].filter(hasNewParts))) {
      const graph = graphOf(portion);
      const expected = await runOnce(bodies, graph, {});
      expect(Object.keys(expected)).toHaveLength(graph.outputs.length);
      const found = agreement(expected, await runOnce(kernels, graph, {}));
      expect(found.worst.f32).toBeLessThan(1e-5);
      expect(found.worst.f16).toBeLessThan(1e-3);
      expect(found.worst.bf16).toBeLessThan(1e-2);
      bytes += found.bytes;
      otherBytes += found.otherBytes;
    }
    expect(otherBytes).toBeLessThanOrEqual(exact.includes(name) ? 0 : 1e-3 * bytes);
  });
});

const others = (name: KernelName): readonly Variant[] => variants[name].filter((v) => !hasNewParts(v));
const withOthers = names.filter((name) => others(name).length > 0);
(built ? test : test.skip).each(withOthers)('%s: every other signature runs on the kernels (needs npm run build:kernels)', async (name) => {
  const graph = graphOf(others(name));
  expect(Object.keys(await runOnce(kernels, graph, {}))).toHaveLength(graph.outputs.length);
});

test('the matrix is whole', () => {
  const counts = Object.fromEntries(names.map((n) => [n, variants[n].length]));
  expect(counts).toMatchObject({ QuantizeClusters: 9, QuantizeTokens: 18, LayerNormReorderQuantize: 288, Int4MatMul: 12 });
  expect(counts['ClusterMatMul']).toBeGreaterThan(600);
  const widths = ['a_bits', 'w_bits', 'out_bits', 'bits'];
  for (const name of names) {
    const kinds = (list: readonly Variant[]) =>
      [
        (v: Variant) => v.optional.join(),
        (v: Variant) => valueOf(v, 'activation'),
        (v: Variant) => widths.map((w) => valueOf(v, w)).join(),
      ].map((key) => new Set(list.map((v) => `${v.type} ${key(v)}`)));
    expect([name, kinds(variants[name].filter(hasNewParts))]).toEqual([name, kinds(variants[name])]);
  }
});
