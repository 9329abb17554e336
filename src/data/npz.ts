import { crc32 } from 'node:zlib';
import { openPromise, type Entry, type ZipFile } from 'yauzl';
import { fail, QcError, type Location } from '../../ir/diagnostics.ts';
import type { Feeds, HostTensor } from '../../passes/infra/executor.ts';
import { fit } from './fit.ts';
import { checkNames, type ModelInput } from './inputs.ts';
import { checkPositions, shorterArrays, tokensIn } from './length.ts';
import { parseNpy } from './npy.ts';
import { inData, messageOf, unreadable } from './read-file.ts';
import type { SampleOptions, Source } from './source.ts';
import { checkTokens } from './tokens.ts';

/** Arrays by input name, whose first axis counts the samples. A model with a fixed batch gets samples of that batch. */
export async function npzSource(file: string, { inputs, vocabulary, positions = null }: SampleOptions): Promise<Source> {
  const arrays = await readNpz(file);
  checkNames([...arrays.keys()], inputs.all, inData(file));
  const used = inputs.all.filter(({ name }) => arrays.has(name));
  const counts = used.map((input) => countOf(input, arrays.get(input.name)!, inData(file, input.name)));
  const count = counts[0] ?? fail('QC2105', 'the file has no arrays', inData(file));
  if (counts.some((n) => n !== count))
    fail('QC2103', 'the arrays have different numbers of samples', inData(file), {
      notes: used.map(({ name }, i) => `${name}: ${counts[i]}`),
    });
  const { tokens } = inputs;
  const ids = tokens && arrays.get(tokens.name);
  if (ids) checkTokens(ids.data, vocabulary, inData(file, tokens.name));
  const sample = (i: number): Feeds => {
    const fitted = fit(sampleAt(i, count, arrays), inputs, inData(file));
    checkPositions(tokensIn(fitted, inputs), positions, shorterArrays, inData(file));
    return fitted;
  };
  return {
    samples: Array.from({ length: count }, (_, i) => () => sample(i)),
    summary: `${file}: ${count} ${count === 1 ? 'sample' : 'samples'}, as long as the arrays are`,
    seqFor: null,
  };
}

/** The arrays of a `.npz` file by name, stored or deflated. */
async function readNpz(file: string): Promise<ReadonlyMap<string, HostTensor>> {
  const zip = await opened(file);
  const arrays = new Map<string, HostTensor>();
  try {
    for await (const entry of zip.eachEntry()) {
      const name = entry.fileName.replace(/\.npy$/, '');
      arrays.set(name, await arrayIn(zip, entry, inData(file, name)));
    }
  } catch (error) {
    return damaged(file, error);
  } finally {
    zip.close();
  }
  return arrays;
}

const opened = (file: string): Promise<ZipFile> =>
  openPromise(file).catch((error: unknown) => (isSystemError(error) ? unreadable(file, error) : damaged(file, error)));

const isSystemError = (error: unknown): boolean => typeof error === 'object' && error !== null && 'syscall' in error;

function damaged(file: string, error: unknown): never {
  if (error instanceof QcError) throw error;
  return fail('QC2105', `not a .npz file that can be read: ${messageOf(error)}`, inData(file));
}

async function arrayIn(zip: ZipFile, entry: Entry, at: Location): Promise<HostTensor> {
  const refuse = (why: string): never => fail('QC2105', why, at);
  if (!entry.fileName.endsWith('.npy')) refuse('a .npz file holds .npy arrays only');
  const bytes = await contentOf(zip, entry);
  if (crc32(bytes) !== entry.crc32) refuse('the checksum is wrong: the file is damaged');
  const array = parseNpy(bytes, refuse);
  const nan = firstNaN(array);
  return nan === -1 ? array : refuse(`element ${nan} is NaN`);
}

async function contentOf(zip: ZipFile, entry: Entry): Promise<Uint8Array> {
  const bytes = new Uint8Array(entry.uncompressedSize);
  let end = 0;
  const chunks: AsyncIterable<Uint8Array> = await zip.openReadStreamPromise(entry);
  for await (const chunk of chunks) {
    bytes.set(chunk, end);
    end += chunk.length;
  }
  return bytes;
}

function firstNaN({ dtype, data }: HostTensor): number {
  if (data instanceof Float32Array || data instanceof Float64Array) return data.findIndex(Number.isNaN);
  return dtype === 'f16' && data instanceof Uint16Array ? data.findIndex((h) => (h & 0x7fff) > 0x7c00) : -1;
}

function countOf(input: ModelInput, array: HostTensor, at: Location): number {
  const rows = array.shape[0] ?? fail('QC2103', `"${input.name}" has no axis of samples`, at);
  const batch = input.shape?.[0];
  const count = rows / (typeof batch === 'number' ? batch : 1);
  return Number.isInteger(count) ? count : fail('QC2103', `"${input.name}" has ${rows} rows, the model takes ${batch} at a time`, at);
}

const sampleAt = (i: number, count: number, arrays: ReadonlyMap<string, HostTensor>): Feeds =>
  Object.fromEntries(
    [...arrays].map(([name, { dtype, shape, data }]) => {
      const size = data.length / count;
      return [name, { dtype, shape: [shape[0]! / count, ...shape.slice(1)], data: data.subarray(i * size, (i + 1) * size) }];
    }),
  );
