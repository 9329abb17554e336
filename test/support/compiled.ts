import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { attributeTypes } from '../../codegen/onnx/schema.ts';
import { decodeModel, toNumber, type ModelProto, type NodeProto, type ValueInfoProto } from '../../codegen/onnx/proto.ts';
import { compile, type CompileOptions } from '../../src/compile.ts';
import type { CompileReport } from '../../src/compile-report.ts';
import { f32, node } from '../codegen/models.ts';
import type { scratch } from '../data/arrays.ts';
import { numbers } from './run.ts';

type Folder = ReturnType<typeof scratch>;

export const floatAttribute = (name: string, f: number) => ({ name, type: attributeTypes.float, f });

/** x + MLP(LayerNormalization(x)) of 16 channels, some of them wide, as ONNX has it: %h the norm, %p, %s, %r the MLP, %o its result, %y the sum. */
export const mlpConstants = (seed = 1) => [
  f32(
    'g',
    [16],
    Array.from(numbers(16, seed), (v, i) => (i % 5 === 0 ? 8 : 1) * (1 + 0.2 * v)),
  ),
  f32(
    'b',
    [16],
    Array.from(numbers(16, seed + 1), (v, i) => (i % 7 === 0 ? 6 : 0.5) * v),
  ),
  f32(
    'w1',
    [16, 32],
    Array.from(numbers(512, seed + 2), (v) => 0.3 * v),
  ),
  f32('b1', [32], Array.from(numbers(32, seed + 3))),
  f32(
    'w2',
    [32, 16],
    Array.from(numbers(512, seed + 4), (v) => 0.3 * v),
  ),
];
export const mlpNodes = (): readonly NodeProto[] => [
  node('LayerNormalization', ['x', 'g', 'b'], ['h'], { attribute: [floatAttribute('epsilon', 1e-5)] }),
  node('MatMul', ['h', 'w1'], ['p']),
  node('Add', ['p', 'b1'], ['s']),
  node('Relu', ['s'], ['r']),
  node('MatMul', ['r', 'w2'], ['o']),
  node('Add', ['x', 'o'], ['y']),
];

/** Elements of a sample of [1, tokens, 16]. */
export const sampleOf = (seed: number, tokens = 6): readonly number[] => Array.from(numbers(tokens * 16, seed), (v) => 2 * v);

const nested = (flat: readonly number[], width: number): readonly (readonly number[])[] =>
  Array.from({ length: flat.length / width }, (_, i) => flat.slice(i * width, (i + 1) * width));

/** Samples of %x as lines of a file, with other inputs as they are. */
export const samplesFile = (folder: Folder, name: string, more: object = {}): string =>
  folder.file(name, [1, 2, 3, 4].map((s) => JSON.stringify({ x: [nested(sampleOf(s), 16)], ...more })).join('\n'));

/** Compiles bytes that lie in `folder` as `name`.onnx; the path of the result comes with the report. */
export async function compileBytes(
  folder: Folder,
  name: string,
  bytes: Uint8Array,
  options: Omit<CompileOptions, 'model' | 'output' | 'passes'> & { readonly passes?: string },
): Promise<{ readonly model: string; readonly output: string; readonly report: CompileReport }> {
  const model = folder.file(`${name}.onnx`, bytes);
  const target = options.target ?? 'ort-cpu';
  const output = join(model, '..', `${name}.${target}.out.onnx`);
  const data = options.data && { samples: 4, ...options.data };
  return { model, output, report: await compile({ passes: 'rptq,os+', threads: 1, ...options, target, model, output, data }) };
}

/** Linears whose weight was quantized. */
export const quantizedIn = ({ ledger }: CompileReport): number =>
  ledger.filter((e) => e.kind === 'linear' && e.done.some((done) => done.includes('weight at'))).length;

export const protoIn = (path: string): ModelProto => decodeModel(readFileSync(path));

/** A declaration as text: `y: 1[batch,?,16]`. */
function declared({ name, type }: ValueInfoProto): string {
  const tensor = type?.tensorType;
  const dims = tensor?.shape?.dim?.map((d) => d.dimParam || (d.dimValue === undefined ? '?' : String(toNumber(d.dimValue))));
  return `${name}: ${tensor?.elemType ?? '?'}${dims ? `[${dims.join()}]` : ''}`;
}

export const interfaceOf = ({ graph }: ModelProto): { readonly inputs: string[]; readonly outputs: string[] } => ({
  inputs: (graph?.input ?? []).map(declared),
  outputs: (graph?.output ?? []).map(declared),
});
