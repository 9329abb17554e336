import { readFileSync } from 'node:fs';
import { replaceFiles } from '../codegen/index.ts';
import { fail, Observer, statisticsAttributes, statisticsOf, viewAs, type Attribute, type Graph, type Statistics } from '../ir/index.ts';
import { dense, inMemory, int64s, integers, type Tensor } from '../ir/tensor.ts';

/** One tensor of a safetensors header. */
interface Entry {
  readonly dtype: 'F32' | 'I64';
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

const separator = '\u0000';

/** Saves what the observers of a graph have seen, as safetensors: `key NUL attribute` for each array. Written beside, then renamed. */
export function writeStatistics(path: string, graph: Graph): void {
  const tensors = new Map<string, Tensor>();
  for (const node of graph.nodes) {
    const observer = viewAs(Observer, node);
    const statistics = observer && statisticsOf(node.attributes);
    if (!observer || !statistics) continue;
    for (const [name, a] of Object.entries(statisticsAttributes(statistics)))
      tensors.set(`${observer.key}${separator}${name}`, asTensor(a));
  }
  replaceFiles([{ path, pieces: [encode(tensors)] }]);
}

/** Reads what `writeStatistics` wrote, by site. */
export function readStatistics(path: string): ReadonlyMap<string, Statistics> {
  const sites = new Map<string, Map<string, Attribute>>();
  for (const [name, tensor] of decode(path)) {
    const [key, attribute] = name.split(separator) as [string, string?];
    if (attribute === undefined) fail('QC2108', `${path}: '${name}' is no statistic of a site`);
    const attributes = sites.get(key) ?? new Map<string, Attribute>();
    attributes.set(attribute, asAttribute(attribute, tensor));
    sites.set(key, attributes);
  }
  return new Map(
    [...sites].map(([key, attributes]) => [key, statisticsOf(attributes) ?? fail('QC2108', `${path}: site ${key} has no range`)] as const),
  );
}

function asTensor(a: Attribute): Tensor {
  if (a.kind === 'tensor') return a.value;
  if (a.kind === 'ints') return int64s([a.value.length], a.value);
  return a.kind === 'int' ? int64s([], [a.value]) : fail('QC9001', `a statistic of kind ${a.kind}`);
}

function asAttribute(name: string, t: Tensor): Attribute {
  if (t.dtype === 'f32') return { kind: 'tensor', value: t };
  const values = integers(t).map(BigInt);
  return name === 'samples' || name === 'tokens' ? { kind: 'int', value: values[0]! } : { kind: 'ints', value: values };
}

/** @see https://huggingface.co/docs/safetensors: u64 length of the header, the header as JSON, the data. */
function encode(tensors: ReadonlyMap<string, Tensor>): Uint8Array {
  let offset = 0;
  const header: Record<string, Entry | Readonly<Record<string, string>>> = { __metadata__: { format: 'qc statistics 1' } };
  const parts = [...tensors].map(([name, t]) => {
    const bytes = t.bytes();
    header[name] = { dtype: t.dtype === 'f32' ? 'F32' : 'I64', shape: t.shape, data_offsets: [offset, (offset += bytes.byteLength)] };
    return bytes;
  });
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded, ...parts]);
}

function decode(path: string): ReadonlyMap<string, Tensor> {
  const damaged = (why: string): never => fail('QC2108', `${path} is not a file of statistics: ${why}`);
  const file = readBytes(path);
  const length = file.length >= 8 ? Number(file.readBigUInt64LE(0)) : damaged('it is too short');
  if (length > file.length - 8) damaged('the header is longer than the file');
  const data = file.subarray(8 + length);
  return new Map(
    Object.entries(parseHeader(file.subarray(8, 8 + length).toString(), damaged)).flatMap(([name, entry]) => {
      if (name === '__metadata__') return [];
      const [from, to] = entry.data_offsets ?? [];
      if (!(from! >= 0 && to! >= from! && to! <= data.length)) damaged(`the range of '${name}' lies outside the file`);
      const copy = Uint8Array.from(data.subarray(from, to));
      return [
        [
          name,
          entry.dtype === 'F32'
            ? dense(entry.shape, new Float32Array(copy.buffer))
            : inMemory('i64', entry.shape, new BigInt64Array(copy.buffer)),
        ] as const,
      ];
    }),
  );
}

function parseHeader(text: string, damaged: (why: string) => never): Readonly<Record<string, Entry>> {
  try {
    return JSON.parse(text) as Readonly<Record<string, Entry>>;
  } catch {
    return damaged('the header is not JSON');
  }
}

function readBytes(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    return fail('QC2109', `cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
