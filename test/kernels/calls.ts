import { float, Graph, inMemory, int, ints, Node, string, tensorType, type Attributes, type Tensor, type Value } from '../../ir/index.ts';
import { encodeFloats } from '../../ir/tensor.ts';
import type { KernelName } from '../../codegen/kernels/bodies/call.ts';
import { kernelOperators } from '../../codegen/kernels/operators.ts';
import { bytesOf, packWeight, packedShape, type StoredBits } from '../../codegen/kernels/packing.ts';
import { carry } from '../../codegen/onnx/carried.ts';
import { numbers } from '../support/run.ts';

/** Small sizes with tails: input channels in three clusters, the last of them no whole step, and columns in no whole tile. */
export const sizes = { rows: 5, groups: [32, 32, 13], outGroups: [32, 9] } as const;
const sum = (v: readonly number[]): number => v.reduce((a, b) => a + b, 0);
export const K = sum(sizes.groups);
export const N = sum(sizes.outGroups);
const G = sizes.groups.length;
const H = sizes.outGroups.length;

export type FloatType = 'f32' | 'f16' | 'bf16';

/** Which of the choices that a call leaves open it makes. */
export interface Variant {
  readonly name: KernelName;
  /** The element type `T`. */
  readonly type: FloatType;
  /** Optional operands and results that are there. */
  readonly optional: readonly string[];
  readonly attributes: Attributes;
}

const allSubsets = (of: readonly string[]): readonly (readonly string[])[] =>
  of.reduce<readonly (readonly string[])[]>((found, name) => [...found, ...found.map((s) => [...s, name])], [[]]);

const widths = [8, 4, 3] as const;
const floatTypes: readonly FloatType[] = ['f32', 'f16', 'bf16'];
const bounds = (bits: number, prefix = ''): Attributes => ({
  [`${prefix}qmin`]: int(-(2 ** (bits - 1))),
  [`${prefix}qmax`]: int(2 ** (bits - 1) - 1),
});
const groups = { groups: ints(sizes.groups) };

/** token_zero makes no sense without offset and token_scale; every other set of optional operands does. */
const sensible = (optional: readonly string[]): boolean =>
  !optional.includes('token_zero') || (optional.includes('offset') && optional.includes('token_scale'));

function products(name: 'ClusterMatMul' | 'ClusterMatMulQuantize'): readonly Variant[] {
  const more = (out: number): Attributes =>
    name === 'ClusterMatMul' ? {} : { out_groups: ints(sizes.outGroups), out_bits: int(out), ...bounds(out, 'out_') };
  const optional = kernelOperators[name].inputs.filter((p) => p.optional).map((p) => p.name);
  const outs = name === 'ClusterMatMul' ? [8] : widths;
  return floatTypes.flatMap((type) =>
    ['none', 'relu', 'gelu', 'gelu_tanh', 'silu'].flatMap((activation) =>
      widths.flatMap((a) =>
        widths.flatMap((w) =>
          outs.flatMap((out) =>
            // All sets of operands with one activation, and one set with all activations.
            (activation === 'none' && out === 8 ? allSubsets(optional).filter(sensible) : [['zero', 'offset', 'multiplier']]).map(
              (set) => ({
                name,
                type,
                optional: set,
                attributes: { ...groups, a_bits: int(a), w_bits: int(w), activation: string(activation), ...more(out) },
              }),
            ),
          ),
        ),
      ),
    ),
  );
}

/** Every signature that codegen can emit. */
export const variants: Readonly<Record<KernelName, readonly Variant[]>> = {
  QuantizeClusters: floatTypes.flatMap((type) =>
    widths.map((b) => ({ name: 'QuantizeClusters' as const, type, optional: [], attributes: { ...groups, bits: int(b), ...bounds(b) } })),
  ),
  DequantizeClusters: widths.map((b) => ({
    name: 'DequantizeClusters' as const,
    type: 'f32' as const,
    optional: [],
    attributes: { ...groups, bits: int(b) },
  })),
  QuantizeTokens: floatTypes.flatMap((type) =>
    widths.flatMap((b) =>
      [0, 1].map((symmetric) => ({
        name: 'QuantizeTokens' as const,
        type,
        optional: symmetric ? [] : ['zero'],
        attributes: { bits: int(b), ...bounds(b), ...(symmetric ? { qmin: int(1 - 2 ** (b - 1)) } : {}), symmetric: int(symmetric) },
      })),
    ),
  ),
  LayerNormReorderQuantize: norms('LayerNormReorderQuantize'),
  RmsNormReorderQuantize: norms('RmsNormReorderQuantize'),
  ClusterMatMul: products('ClusterMatMul'),
  ClusterMatMulQuantize: products('ClusterMatMulQuantize'),
  Int4MatMul: weightOnly('Int4MatMul'),
  Int3MatMul: weightOnly('Int3MatMul'),
};

function norms(name: 'LayerNormReorderQuantize' | 'RmsNormReorderQuantize'): readonly Variant[] {
  const { inputs, outputs } = kernelOperators[name];
  const optional = [...inputs, ...outputs].filter((p) => p.optional).map((p) => p.name);
  return floatTypes.flatMap((type) =>
    widths.flatMap((b) =>
      allSubsets(optional).map((set) => ({
        name,
        type,
        optional: set,
        attributes: { ...groups, bits: int(b), ...bounds(b), epsilon: float(1e-5) },
      })),
    ),
  );
}

function weightOnly(name: 'Int4MatMul' | 'Int3MatMul'): readonly Variant[] {
  return floatTypes.flatMap((type) => allSubsets(['zero', 'bias']).map((set) => ({ name, type, optional: set, attributes: groups })));
}

const whole = (count: number, seed: number, size: number): readonly number[] =>
  Array.from(numbers(count, seed), (x) => Math.round(x * size));
const bitsOf = (v: Variant, name: string): StoredBits => {
  const a = v.attributes[name];
  return Number(a?.kind === 'int' ? a.value : 0) as StoredBits;
};

/** Data for an operand: codes and scales such that results are of size 1 or so. */
function dataFor(v: Variant, port: string, type: string): Tensor {
  const floats = (shape: readonly number[], seed: number, f: (x: number) => number = (x) => x): Tensor => {
    const dtype = type === 'T' ? v.type : 'f32';
    return inMemory(dtype, shape, encodeFloats(dtype, numbers(sum([shape.reduce((a, b) => a * b, 1)]), seed).map(f)));
  };
  const bits = v.name === 'Int4MatMul' ? 4 : v.name === 'Int3MatMul' ? 3 : bitsOf(v, 'w_bits');
  const aBits = bitsOf(v, 'a_bits') || bitsOf(v, 'bits');
  switch (port) {
    case 'x':
    case 'residual':
      return floats([sizes.rows, K], port === 'x' ? 1 : 2, (x) => 3 * x);
    case 'codes': {
      const packed = Array.from({ length: sizes.rows }, (_, r) => packedRow(whole(K, 3 + r, 2 ** (aBits - 1) - 1), aBits));
      return inMemory('u8', [sizes.rows, bytesOf(K, aBits)], Uint8Array.from(packed.flatMap((p) => [...p])));
    }
    case 'weight':
      return inMemory('u8', packedShape(K, N, bits), packWeight(Int8Array.from(whole(K * N, 9, 2 ** (bits - 1) - 1)), K, N, bits));
    case 'scale':
      return 'w_bits' in v.attributes || v.name.startsWith('Int')
        ? floats([G, N], 11, (x) => (1.1 + x) / 2 ** (bits + (v.name.startsWith('Int') ? 0 : aBits) - 2))
        : floats([G], 12, (x) => (4 * (1.1 + x)) / 2 ** aBits);
    case 'zero':
      return type === 'i8'
        ? inMemory('i8', [G, N], Int8Array.from(whole(G * N, 13, 2 ** (bits - 1) - 1)))
        : inMemory('f32', [G], Float32Array.of(-3, 0, 2));
    case 'offset':
      return floats([N], 14);
    case 'token_scale':
      return floats([sizes.rows, 1], 15, (x) => 1.1 + x);
    case 'token_zero':
      return inMemory('f32', [sizes.rows, 1], Float32Array.from(whole(sizes.rows, 16, 5)));
    case 'bias':
      return floats([N], 17);
    case 'multiplier':
      return floats([sizes.rows, N], 18);
    case 'out_scale':
      return floats([H], 19, (x) => (3 * (1.1 + x)) / 2 ** bitsOf(v, 'out_bits'));
    case 'out_zero':
      return inMemory('f32', [H], Float32Array.of(1, -2));
    case 'order':
      return inMemory(
        'i32',
        [K],
        Int32Array.from({ length: K }, (_, k) => (k * 13 + 5) % K),
      );
    default:
      return floats([K], port === 'gamma' ? 20 : 21, (x) => 1 + x);
  }
}

/** A row of codes: a weight of one column is the same with other columns between its words. */
function packedRow(codes: readonly number[], bits: StoredBits): Uint8Array {
  const lines = packWeight(Int8Array.from(codes), codes.length, 1, bits);
  return Uint8Array.from({ length: lines.length / 16 }, (_, i) => lines[Math.floor(i / 4) * 64 + (i % 4)]!);
}

/** All variants as nodes of one graph, whose results are the graph's and whose operands are constants, some of them given. */
export function graphOf(list: readonly Variant[], instead: Readonly<Record<string, Tensor>> = {}): Graph {
  const graph = new Graph('kernels');
  list.forEach((v, i) => {
    const { inputs, outputs } = kernelOperators[v.name];
    const there = (p: { readonly name: string; readonly optional: boolean }): boolean => !p.optional || v.optional.includes(p.name);
    const operands = inputs.map((p): Value | null =>
      there(p) && (p.name !== 'beta' || v.optional.includes('beta'))
        ? graph.addConstant(`${p.name}.${i}`, instead[p.name] ?? dataFor(v, p.name, p.type))
        : null,
    );
    const last = outputs.findLastIndex(there);
    const node = graph.append(
      new Node({
        op: `qc.${v.name}`,
        inputs: operands.slice(0, operands.findLastIndex((o) => o !== null) + 1),
        attributes: v.attributes,
        results: outputs.slice(0, last + 1).map((p) => ({
          name: `${p.name}_${i}`,
          type: tensorType(p.type === 'T' ? v.type : p.type === 'u8' ? 'u8' : 'f32', null),
        })),
      }),
    );
    node.outputs.forEach((value, o) => (there(outputs[o]!) ? graph.addOutput(leaving(graph, value)) : carry(value, { omitted: true })));
  });
  return graph;
}

/** A result as onnxruntime-node can give it back: bf16 as f32, by a name that says so. */
function leaving(graph: Graph, value: Value): Value {
  if (value.type?.dtype !== 'bf16') return value;
  const results = [{ name: `${value.name}_bf16`, type: tensorType('f32', null) }];
  return graph.append(new Node({ op: 'Cast', inputs: [value], attributes: { to: int(1) }, results })).output;
}
