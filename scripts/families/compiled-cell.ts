import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { QcError, sizeOf, type Graph } from '../../ir/index.ts';
import { random } from '../../ir/text/numbers.ts';
import { Noise } from '../../src/eval/noise.ts';
import { floatElements } from '../../src/eval/float-elements.ts';
import { compile } from '../../src/compile.ts';
import { roleOf, modelInputs, type ModelInput } from '../../src/data/inputs.ts';
import { inputsOf, lookInto } from '../../src/model.ts';
import { samplesFor } from '../../src/model-samples.ts';
import { OrtExecutor } from '../../src/runtime/ort-executor.ts';

/** What a compile at w8a8 for ort-cpu gave. */
export interface CompiledCell {
  /** The code of the error that it ended with. */
  readonly error: string | null;
  /** Explicit reorders that are left. */
  readonly gathers: number;
  /** The largest relative difference that exact passes made. */
  readonly exact: number | null;
  /** Signal by noise of all outputs, in dB, on samples that ranges did not see. */
  readonly sqnr: number | null;
}

export const pipelines = ['none', 'os+', 'rptq', 'rptq,os+'] as const;

const [tokens, words, calibration, heldOut] = [12, 64, 16, 4];

export async function compiledCell(model: string, passes: string, scratch: string): Promise<CompiledCell> {
  const graph = lookInto(model);
  const file = (name: string, seed: number, samples: number): string => {
    const path = join(scratch, name);
    writeFileSync(path, samplesOf(graph, seed, samples));
    return path;
  };
  const output = join(scratch, 'compiled.onnx');
  try {
    const data = { files: [file('calibration.jsonl', 1, calibration)], samples: calibration };
    const report = await compile({ model, output, passes, scheme: 'w8a8', target: 'ort-cpu', threads: 1, data });
    const sqnr = await signalByNoise(model, output, file('held-out.jsonl', 2, heldOut));
    return { error: null, gathers: report.left.gathers, exact: report.exactDifference, sqnr };
  } catch (error) {
    if (!(error instanceof QcError)) throw error;
    return { error: error.code, gathers: 0, exact: null, sqnr: null };
  }
}

/** Lines with a value for each input that the tokens do not give: caches start empty, and masks and positions follow from the tokens. */
function samplesOf(graph: Graph, seed: number, samples: number): string {
  const next = random(seed);
  const inputs = modelInputs(inputsOf(graph));
  const branches = inputs.all.some((i) => roleOf(i, inputs) === 'cache-branch');
  // A cache of what an encoder gave is data, unless a branch leaves it unread.
  const isGiven = (i: ModelInput): boolean => roleOf(i, inputs) === 'cache' && i.name.includes('encoder') && !branches;
  const made = ['mask', 'positions', 'token-types', 'cache', 'cache-branch'];
  const given = inputs.all.filter((i) => isGiven(i) || !made.includes(roleOf(i, inputs) ?? ''));
  const line = (): string => JSON.stringify(Object.fromEntries(given.map((i) => [i.name, nested(valueOf(i, next), shapeOf(i))])));
  return Array.from({ length: samples }, line).join('\n');
}

/** What open extents are: of a picture, or of a sequence. */
const openExtents = ({ name, shape }: ModelInput): readonly number[] =>
  name === 'pixel_values' ? [1, 3, 32, 32] : (shape ?? []).map((_, axis) => (axis === 0 ? 1 : tokens));

const shapeOf = (input: ModelInput): readonly number[] =>
  (input.shape ?? []).map((d, axis) => (typeof d === 'number' ? d : openExtents(input)[axis]!));

function valueOf(input: ModelInput, next: () => number): readonly number[] {
  const isInteger = /^[iu]\d/.test(input.dtype);
  // Numbers below 3 are special tokens.
  const one = (): number => (isInteger ? 3 + Math.floor(((next() + 1) / 2) * (words - 3)) : 2 * next());
  return Array.from({ length: sizeOf(shapeOf(input)) }, () => (input.name.includes('mask') ? 1 : one()));
}

function nested(flat: readonly number[], [first = 1, ...rest]: readonly number[]): unknown {
  if (rest.length === 0) return flat;
  const size = flat.length / first;
  return Array.from({ length: first }, (_, i) => nested(flat.slice(i * size, (i + 1) * size), rest));
}

async function signalByNoise(float: string, model: string, file: string): Promise<number> {
  const executor = new OrtExecutor({ threads: 1 });
  try {
    const samples = await samplesFor(lookInto(float), { files: [file] });
    const [wanted, found] = [await executor.openFile(float), await executor.openFile(model)];
    const noise = new Noise();
    for (const sample of samples) {
      const [a, b] = [await wanted.run(sample), await found.run(sample)];
      for (const [name, tensor] of Object.entries(a)) {
        const [x, y] = [floatElements(tensor), floatElements(b[name])];
        if (x && y) noise.add(x, y);
      }
    }
    return noise.sqnr ?? Infinity;
  } finally {
    await executor.close();
  }
}
