import { replaceFiles } from '../codegen/index.ts';
import { rangeReader, stampFile } from '../codegen/onnx/files.ts';
import type { Piece } from '../codegen/onnx/pieces.ts';
import { fail, Observer, viewAs, type Attribute, type Graph } from '../ir/index.ts';
import { int, ints, tensor } from '../ir/attributes.ts';
import { inFile, int64s, integers, type FileRange, type Tensor } from '../ir/tensor.ts';
import { bytesFor, sizeOf } from '../ir/types.ts';
import { statisticsOf } from '../passes/index.ts';

/** One tensor of a safetensors header. */
interface Entry {
  readonly dtype: 'F32' | 'I64';
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

const separator = '\u0000';

/**
 * Saves what the observers of a graph remember, as safetensors: `key NUL attribute` for each array; a single number has no axes. Written
 * beside, then renamed.
 */
export function writeStatistics(path: string, graph: Graph): void {
  const tensors = new Map<string, Tensor>();
  for (const node of graph.nodes) {
    const observer = viewAs(Observer, node);
    if (!observer || !statisticsOf(node.attributes)) continue;
    for (const [name, a] of node.attributes) if (name !== 'key') tensors.set(`${observer.key}${separator}${name}`, asTensor(a));
  }
  replaceFiles([{ path, pieces: encode(tensors) }]);
}

/** Reads what `writeStatistics` wrote, by site. Arrays stay in the file until they are needed. */
export function readStatistics(path: string): ReadonlyMap<string, ReadonlyMap<string, Attribute>> {
  const sites = new Map<string, Map<string, Attribute>>();
  for (const [name, tensor] of decode(path)) {
    const [key, attribute] = name.split(separator) as [string, string?];
    if (attribute === undefined) fail('QC2108', `${path}: '${name}' is no statistic of a site`);
    const attributes = sites.get(key) ?? new Map<string, Attribute>();
    attributes.set(attribute, asAttribute(tensor));
    sites.set(key, attributes);
  }
  for (const [key, attributes] of sites) if (!statisticsOf(attributes)) fail('QC2108', `${path}: site ${key} has no range`);
  return sites;
}

function asTensor(a: Attribute): Tensor {
  if (a.kind === 'tensor') return a.value;
  if (a.kind === 'ints') return int64s([a.value.length], a.value);
  return a.kind === 'int' ? int64s([], [a.value]) : fail('QC9001', `a statistic of kind ${a.kind}`);
}

function asAttribute(t: Tensor): Attribute {
  if (t.dtype === 'f32') return tensor(t);
  return t.shape.length === 0 ? int(integers(t)[0]!) : ints(integers(t));
}

/** @see https://huggingface.co/docs/safetensors: u64 length of the header, the header as JSON, the data. */
function encode(tensors: ReadonlyMap<string, Tensor>): readonly Piece[] {
  let offset = 0;
  const header: Record<string, Entry | Readonly<Record<string, string>>> = { __metadata__: { format: 'qc statistics 1' } };
  for (const [name, t] of tensors) {
    const start = offset;
    offset += bytesFor(t.dtype, sizeOf(t.shape));
    header[name] = { dtype: t.dtype === 'f32' ? 'F32' : 'I64', shape: t.shape, data_offsets: [start, offset] };
  }
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return [length, padded, ...[...tensors.values()].map((t) => ({ tensor: t, length: bytesFor(t.dtype, sizeOf(t.shape)) }))];
}

function decode(path: string): ReadonlyMap<string, Tensor> {
  const damaged = (why: string): never => fail('QC2108', `${path} is not a file of statistics: ${why}`);
  const stamp = stampFile(path, 'QC2109');
  const read = rangeReader(stamp);
  const at = (offset: number, length: number): FileRange => ({ path, offset, length });
  const length = stamp.size >= 8 ? Number(Buffer.from(read(at(0, 8))).readBigUInt64LE(0)) : damaged('it is too short');
  const start = 8 + length;
  if (start > stamp.size) damaged('the header is longer than the file');
  return new Map(
    Object.entries(parseHeader(Buffer.from(read(at(8, length))).toString(), damaged)).flatMap(([name, entry]) => {
      if (name === '__metadata__') return [];
      const [from, to] = entry.data_offsets ?? [];
      if (!(from! >= 0 && to! >= from! && start + to! <= stamp.size)) damaged(`the range of '${name}' lies outside the file`);
      const dtype = entry.dtype === 'F32' ? 'f32' : 'i64';
      return [[name, inFile(dtype, entry.shape, at(start + from!, to! - from!), read)] as const];
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
