import { closeSync, fstatSync, openSync } from 'node:fs';
import { fail } from '../../ir/diagnostics.ts';
import { placeOf, readFully, reasonOf, stampFile, stampOf, type FileStamp } from './files.ts';
import { tagBytes } from './wire.ts';

/** A model file without its weights. */
export interface Skeleton {
  /** The file with every long `raw_data` cut down to one byte. */
  readonly bytes: Uint8Array;
  /** For each byte of `bytes` that stands for a payload: where the payload lies in the file. */
  readonly payloads: ReadonlyMap<number, { readonly offset: number; readonly length: number }>;
  readonly stamp: FileStamp;
  /** Where in the file a byte of `bytes` came from. */
  offsetInFile(offset: number): number;
}

/** Payloads shorter than this are copied: not worth an access to the file. */
export const smallPayload = 1024;

/**
 * Reads a model file of any size without its weights: walks model, graph, nodes and tensors on the wire and skips payloads.
 * What is read is bounded by the file, never by a length field.
 */
export function readSkeleton(path: string): Skeleton {
  stampFile(path, 'QC2109');
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    return fail('QC2109', `cannot open ${path}: ${reasonOf(error)}`, placeOf(path));
  }
  try {
    const stamp = stampOf(fstatSync(fd));
    const window = new Window(fd, stamp.size, path);
    const parts = walkMessage(window, layouts.model, 0, stamp.size, 0);
    return { ...assemble(window, parts), stamp };
  } catch (error) {
    return error instanceof Error && 'syscall' in error
      ? fail('QC2109', `cannot read ${path}: ${error.message}`, placeOf(path))
      : raise(error);
  } finally {
    closeSync(fd);
  }
}

const raise = (error: unknown): never => {
  throw error;
};

/** Which fields of a message lead to payloads. */
interface Layout {
  readonly inner: Readonly<Record<number, keyof typeof layouts>>;
  readonly payload?: number;
}

const layouts: Readonly<Record<'model' | 'graph' | 'node' | 'attribute' | 'tensor', Layout>> = {
  model: { inner: { 7: 'graph' } },
  graph: { inner: { 1: 'node', 5: 'tensor' } },
  node: { inner: { 5: 'attribute' } },
  // Not `tensors` (10) nor sparse tensors: the graph keeps those as bytes, so they must stay whole.
  attribute: { inner: { 5: 'tensor', 6: 'graph', 11: 'graph' } },
  tensor: { inner: {}, payload: 9 },
};

/** A stretch of the file, bytes of our own, or the stand-in of a payload. */
type Part =
  | { readonly kind: 'copy'; readonly offset: number; readonly length: number }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array; readonly offset: number }
  | { readonly kind: 'payload'; readonly offset: number; readonly length: number };

const sizeOfPart = (part: Part): number => (part.kind === 'copy' ? part.length : part.kind === 'bytes' ? part.bytes.length : 1);

const deepest = 100;

function walkMessage(window: Window, layout: Layout, start: number, end: number, depth: number): Part[] {
  if (depth > deepest) window.damaged(start, `messages are nested deeper than ${deepest}`);
  const parts: Part[] = [];
  let copied = start;
  let at = start;
  while (at < end) {
    const tag = window.varint(at, end);
    const body = at + tag.size;
    const length = (tag.value & 7) === 2 ? window.varint(body, end) : null;
    if (length === null) {
      at = window.skip(tag.value, body, end, depth);
      continue;
    }
    const from = body + length.size;
    if (length.value > end - from) window.damaged(body, `a length of ${length.value} goes beyond the end`);
    const field = Math.floor(tag.value / 8);
    const inner = layout.inner[field];
    // What is shorter than a payload cannot hold one.
    if (length.value >= smallPayload && (inner || layout.payload === field)) {
      if (at > copied) parts.push({ kind: 'copy', offset: copied, length: at - copied });
      const kept: Part[] = inner
        ? walkMessage(window, layouts[inner], from, from + length.value, depth + 1)
        : [{ kind: 'payload', offset: from, length: length.value }];
      parts.push({
        kind: 'bytes',
        bytes: tagBytes(
          field,
          kept.reduce((n, p) => n + sizeOfPart(p), 0),
        ),
        offset: at,
      });
      for (const part of kept) parts.push(part);
      copied = from + length.value;
    }
    at = from + length.value;
  }
  if (end > copied) parts.push({ kind: 'copy', offset: copied, length: end - copied });
  return parts;
}

function assemble(window: Window, parts: readonly Part[]): Omit<Skeleton, 'stamp'> {
  const total = parts.reduce((n, p) => n + sizeOfPart(p), 0);
  if (total >= 2 ** 31)
    fail('QC4107', `${total} bytes are left without the weights`, placeOf(window.path), { hint: 'save the model with external data' });
  const bytes = new Uint8Array(total);
  const payloads = new Map<number, { readonly offset: number; readonly length: number }>();
  const starts: number[] = [];
  let at = 0;
  for (const part of parts) {
    starts.push(at);
    if (part.kind === 'copy') window.copy(bytes.subarray(at, at + part.length), part.offset);
    else if (part.kind === 'bytes') bytes.set(part.bytes, at);
    else payloads.set(at, { offset: part.offset, length: part.length });
    at += sizeOfPart(part);
  }
  const offsetInFile = (offset: number): number => {
    const index = starts.findLastIndex((s) => s <= offset);
    const part = parts[index];
    return part ? part.offset + (part.kind === 'copy' ? offset - starts[index]! : 0) : offset;
  };
  return { bytes, payloads, offsetInFile };
}

/** A small buffer that moves over the file. */
class Window {
  readonly path: string;
  readonly #fd: number;
  readonly #size: number;
  readonly #buffer = new Uint8Array(256 * 1024);
  #start = 0;
  #end = 0;
  constructor(fd: number, size: number, path: string) {
    this.#fd = fd;
    this.#size = size;
    this.path = path;
  }
  damaged(offset: number, reason: string): never {
    return fail('QC4101', `the protobuf does not decode at byte ${offset}: ${reason}`, placeOf(this.path));
  }
  byte(at: number): number {
    if (at < this.#start || at >= this.#end) this.#move(at);
    return this.#buffer[at - this.#start]!;
  }
  /** A varint of at most 53 bits, and how many bytes it takes. */
  varint(at: number, end: number): { readonly value: number; readonly size: number } {
    let value = 0;
    for (let i = 0; i < 8; i++) {
      if (at + i >= end) this.damaged(at, 'a number is cut');
      const byte = this.byte(at + i);
      value += (byte & 127) * 2 ** (7 * i);
      if (byte < 128) return Number.isSafeInteger(value) ? { value, size: i + 1 } : this.damaged(at, 'a length is out of range');
    }
    return this.damaged(at, 'a tag or length is out of range');
  }
  /** The end of a field that is not length-delimited, or of a length-delimited one inside a group. */
  skip(tag: number, body: number, end: number, depth: number): number {
    const next = this.#pastField(tag, body, end, depth);
    return next <= end ? next : this.damaged(body, 'a field is cut');
  }
  copy(into: Uint8Array, offset: number): void {
    if (!readFully(this.#fd, into, offset)) this.damaged(offset, 'the file became shorter');
  }
  #pastField(tag: number, body: number, end: number, depth: number): number {
    switch (tag & 7) {
      case 0:
        for (let i = 0; i < 10 && body + i < end; i++) if (this.byte(body + i) < 128) return body + i + 1;
        return this.damaged(body, 'a number is cut');
      case 1:
        return body + 8;
      case 2: {
        const length = this.varint(body, end);
        return body + length.size + length.value;
      }
      case 3:
        return this.#pastGroup(Math.floor(tag / 8), body, end, depth + 1);
      case 5:
        return body + 4;
      default:
        return this.damaged(body, `wire type ${tag & 7} does not exist here`);
    }
  }
  #pastGroup(field: number, start: number, end: number, depth: number): number {
    if (depth > deepest) this.damaged(start, `groups are nested deeper than ${deepest}`);
    for (let at = start; at < end;) {
      const tag = this.varint(at, end);
      at += tag.size;
      if ((tag.value & 7) === 4) return Math.floor(tag.value / 8) === field ? at : this.damaged(at, 'a group ends that did not begin');
      at = this.skip(tag.value, at, end, depth);
    }
    return this.damaged(start, 'a group does not end');
  }
  #move(at: number): void {
    this.#start = at;
    this.#end = Math.min(at + this.#buffer.length, this.#size);
    this.copy(this.#buffer.subarray(0, this.#end - at), at);
  }
}
