import { existsSync, realpathSync } from 'node:fs';
import { dirname, isAbsolute, normalize, relative, resolve, sep } from 'node:path';
import { fail, type Location } from '../../ir/diagnostics.ts';
import type { FileRange } from '../../ir/tensor.ts';
import { rangeReader, stampFile, type FileStamp } from './files.ts';
import type { TensorProto } from './proto-types.ts';

/** A range of a side file, and what reads it. */
export interface ExternalRange {
  readonly at: FileRange;
  readonly read: (at: FileRange) => Uint8Array;
}

/** Resolves the external data of one model's tensors; each side file is examined once. */
export type ExternalFiles = (tensor: TensorProto, length: number, at: Location) => ExternalRange;

/** The side files of the model at `path`: none of them may lie outside its folder, through links or otherwise. */
export function externalFiles(path: string | null): ExternalFiles {
  const known = new Map<string, { readonly path: string; readonly stamp: FileStamp; readonly read: (at: FileRange) => Uint8Array }>();
  return (tensor, length, at) => {
    const entries = new Map((tensor.externalData ?? []).map((e) => [e.key ?? '', e.value ?? '']));
    const location = entries.get('location') ?? '';
    const offset = decimal(entries.get('offset') ?? '0', 'offset', tensor, at);
    const stated = entries.has('length') ? decimal(entries.get('length')!, 'length', tensor, at) : length;
    if (stated !== length) fail('QC1601', `tensor ${tensor.name} needs ${length} bytes, its external data has ${stated}`, at);
    if (path === null) return fail('QC4102', `tensor ${tensor.name} has external data, and this model is not in a file`, at);
    let file = known.get(location);
    if (!file) {
      const side = sidePath(path, location, at);
      const stamp = stampFile(side, 'QC4102', at);
      file = { path: side, stamp, read: rangeReader(stamp) };
      known.set(location, file);
    }
    if (offset + length > file.stamp.size)
      fail('QC4102', `tensor ${tensor.name} needs bytes ${offset} to ${offset + length} of ${location}, which has ${file.stamp.size}`, at);
    return { at: { path: file.path, offset, length }, read: file.read };
  };
}

function sidePath(model: string, location: string, at: Location): string {
  const refuse = (why: string): never => fail('QC4103', `external data in '${location}': ${why}`, at);
  if (location === '' || location.includes('\0')) refuse('the location is not a file name');
  if (isAbsolute(location) || /^([a-zA-Z]:|\\)/.test(location)) refuse('the location is absolute');
  if (leaves(normalize(location.replaceAll('\\', '/')))) refuse("the location leaves the model's folder");
  const side = resolve(dirname(model), location);
  let real: string;
  try {
    real = realpathSync(side);
  } catch (error) {
    return fail('QC4102', `external data in '${location}' is not there: ${error instanceof Error ? error.message : error}`, at);
  }
  // Download caches link both model and side files into one folder of blobs: where the model really is counts too.
  const folders = [realpathSync(dirname(model)), ...(existsSync(model) ? [dirname(realpathSync(model))] : [])];
  if (folders.every((folder) => leaves(relative(folder, real)))) refuse("a link leads out of the model's folder");
  return side;
}

const leaves = (path: string): boolean => path === '..' || path.startsWith(`..${sep}`) || path.startsWith('../') || isAbsolute(path);

function decimal(text: string, key: string, tensor: TensorProto, at: Location): number {
  const value = Number(text);
  return /^\d+$/.test(text) && Number.isSafeInteger(value)
    ? value
    : fail('QC4106', `tensor ${tensor.name}: the ${key} '${text}' of its external data is not a number`, at);
}
