import { rowsModule } from './module.ts';

/** A place in the memory of the module: the `byteOffset` of an array that `room` made. */
type Place = number;

/** The loops of assembly/rows.ts, which says what each computes. */
interface Rows {
  gatherScaled(to: Place, from: Place, order: Place, n: number, factor: number, zero: number): void;
  scaleBy(to: Place, from: Place, n: number, factor: number, zero: number): void;
  scaleEach(row: Place, scale: Place, n: number): void;
  widen(min: Place, max: Place, row: Place, n: number): void;
  hasUnbounded(row: Place, n: number): boolean | number;
  codes(code: Place, row: Place, scale: Place, zero: Place, n: number, qmin: number, qmax: number): void;
  dequantize(row: Place, code: Place, scale: Place, zero: Place, n: number): void;
  addProduct(sum: Place, factor: number, code: Place, scale: Place, zero: Place, n: number): void;
  addErrors(error: Place, row: Place, scale: Place, zero: Place, n: number, qmin: number, qmax: number, factor: number): void;
  addRows(to: Place, from: Place, stride: number, factor: Place, count: number, n: number): void;
  quads(quad: Place, a: Place, b: Place, c: Place, d: Place, n: number, lift: number): void;
  place(word: Place, quad: Place, tiles: number, stride: number, from: number, mask: number, shift: number): void;
}

interface Memory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}
/** What is used of a global that the types of Node.js leave to those of browsers. */
declare const WebAssembly: {
  readonly Memory: new (limits: { readonly initial: number }) => Memory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: Readonly<Record<string, object>>) => { readonly exports: object };
};

const page = 65536;
const memory = new WebAssembly.Memory({ initial: 1 });
const module = new WebAssembly.Module(Buffer.from(rowsModule, 'base64'));

/** Loops over rows of weights in WebAssembly, 128 bits at a time. They work on arrays that `room` gives. */
export const rows = new WebAssembly.Instance(module, { env: { memory } }).exports as Rows;

/** Kinds of arrays that fit the module's loops, each by the function that makes a view. */
const views = {
  f32: (at: number, n: number) => new Float32Array(memory.buffer, at, n),
  f64: (at: number, n: number) => new Float64Array(memory.buffer, at, n),
  u32: (at: number, n: number) => new Uint32Array(memory.buffer, at, n),
  i8: (at: number, n: number) => new Int8Array(memory.buffer, at, n),
};
type Kind = keyof typeof views;
type Arrays<T> = { readonly [K in keyof T]: T[K] extends readonly [infer D extends Kind, number] ? ReturnType<(typeof views)[D]> : never };

/** Loops go over multiples of 16 elements, and rows begin at them. */
export const padded = (n: number): number => Math.ceil(n / 16) * 16;
const bytes = { f32: 4, f64: 8, u32: 4, i8: 1 };

/**
 * Arrays of so many elements in the module's memory, all zero, with zeros behind them up to a multiple of 16. They are good until the next
 * call, so whoever calls reads other tensors before it.
 */
export function room<const T extends Readonly<Record<string, readonly [Kind, number]>>>(wanted: T): Arrays<T> {
  const sizes = Object.entries(wanted).map(([name, [kind, n]]) => ({ name, kind, n, size: padded(n) * bytes[kind] }));
  const total = sizes.reduce((sum, { size }) => sum + size, 0);
  if (total > memory.buffer.byteLength) memory.grow(Math.ceil((total - memory.buffer.byteLength) / page));
  new Uint8Array(memory.buffer, 0, total).fill(0);
  let next = 0;
  const made = sizes.map(({ name, kind, n, size }) => [name, views[kind]((next += size) - size, n)]);
  return Object.fromEntries(made) as Arrays<T>;
}
