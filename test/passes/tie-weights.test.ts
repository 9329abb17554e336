import { describe, expect, test } from '@jest/globals';
import { Graph, inFile, inMemory, Node, tensorType, type DType, type FileRange, type Tensor } from '../../ir/index.ts';
import { printsOf } from '../../passes/cleanup/prints.ts';
import { PassManager, passes } from '../../passes/index.ts';

/** How often the data of a tensor was asked for, in one piece or in parts. */
interface Counted {
  readonly tensor: Tensor;
  readonly reads: { bytes: number; chunks: number };
}

function counted(shape: readonly number[], seed: number, dtype: DType = 'f32'): Counted {
  const data = Float32Array.from({ length: shape[0]! * shape[1]! }, (_, i) => i * seed);
  const inner = inMemory(dtype, shape, data);
  const reads = { bytes: 0, chunks: 0 };
  const bytes = () => (reads.bytes++, inner.bytes());
  return { reads, tensor: { ...inner, bytes, chunks: () => (reads.chunks++, [inner.bytes().subarray(0, 8), inner.bytes().subarray(8)]) } };
}

/** The transpose of what `counted` makes. */
function turned([rows = 0, columns = 0]: readonly number[], seed: number): Counted {
  const data = Float32Array.from({ length: rows * columns }, (_, i) => ((i % columns) * rows + Math.floor(i / columns)) * seed);
  const { tensor, reads } = counted([rows, columns], 1);
  const bytes = () => (reads.bytes++, inMemory('f32', [rows, columns], data).bytes());
  return { reads, tensor: { ...tensor, bytes, chunks: () => (reads.chunks++, [inMemory('f32', [rows, columns], data).bytes()]) } };
}

const once = (list: readonly Counted[]): readonly number[] => list.map(({ reads }) => reads.bytes + reads.chunks);

describe('prints', () => {
  test('of shapes and types that nothing else has are made without reading', () => {
    const list = [counted([2, 3], 1), counted([2, 4], 1), counted([6, 1], 1), counted([3, 2], 1, 'i32')];
    expect(new Set(printsOf(list.map((c) => c.tensor)).map((p) => p.own)).size).toBe(4);
    expect(once(list)).toEqual([0, 0, 0, 0]);
  });
  test('of one shape read each matrix once, in parts', () => {
    const list = [counted([2, 3], 1), counted([2, 3], 2), counted([2, 3], 1)];
    const [a, b, c] = printsOf(list.map((x) => x.tensor));
    expect([a!.own === b!.own, a!.own === c!.own]).toEqual([false, true]);
    expect(list.map((x) => x.reads)).toEqual([0, 1, 2].map(() => ({ bytes: 0, chunks: 1 })));
  });
  test('of reversed shapes turn the earlier one, and read both once', () => {
    const list = [counted([2, 3], 1), turned([3, 2], 1)];
    const [a, b] = printsOf(list.map((x) => x.tensor));
    expect(a!.turned).toBe(b!.own);
    expect(b!.turned).toBeNull();
    expect(list.map((x) => x.reads)).toEqual([
      { bytes: 1, chunks: 0 },
      { bytes: 0, chunks: 1 },
    ]);
  });
  test('of square matrices may match both ways', () => {
    const list = [counted([3, 3], 1), turned([3, 3], 1), counted([3, 3], 1)];
    const [a, b, c] = printsOf(list.map((x) => x.tensor));
    expect([a!.turned === b!.own, a!.own === c!.own, b!.turned === c!.own, c!.turned]).toEqual([true, true, true, null]);
    expect(once(list)).toEqual([1, 1, 1]);
  });
  test('of a row and a column match', () => {
    const list = [counted([1, 4], 1), counted([4, 1], 1)];
    const [a, b] = printsOf(list.map((x) => x.tensor));
    expect(a!.turned).toBe(b!.own);
    expect(once(list)).toEqual([1, 1]);
  });
  test('of one object or one range of a file are equal without reading', () => {
    const { tensor, reads } = counted([2, 3], 1);
    let files = 0;
    const range = (): Tensor =>
      inFile('f32', [4, 8], { path: 'w', offset: 64, length: 128 }, ({ length }: FileRange) => (files++, new Uint8Array(length)));
    const [a, b, c, d] = printsOf([tensor, tensor, range(), range()]);
    expect([a!.own === b!.own, c!.own === d!.own, a!.own === c!.own]).toEqual([true, true, false]);
    expect([reads.bytes + reads.chunks, files]).toEqual([0, 0]);
  });
});

describe('corners of matrices in a file', () => {
  /** Bytes read so far. */
  const fileOf = (data: Float32Array, shape: readonly number[], path: string) => {
    const bytes = new Uint8Array(data.buffer);
    const seen = { bytes: 0 };
    const read = ({ offset, length }: FileRange): Uint8Array => ((seen.bytes += length), bytes.slice(offset, offset + length));
    return { seen, tensor: inFile('f32', shape, { path, offset: 0, length: bytes.length }, read) };
  };
  const rows = 64;
  const columns = 32;
  const data = (change: number): Float32Array => Float32Array.from({ length: rows * columns }, (_, i) => i + (i === 0 ? change : 0));
  const transposed = (v: Float32Array): Float32Array => v.map((_, i) => v[(i % rows) * columns + Math.floor(i / rows)]!);
  const corner = 4 * 8 * columns;

  test('that differ spare the rest', () => {
    const list = [0, 1, 2].map((x) => fileOf(data(x), [rows, columns], `w${x}`));
    const turn = fileOf(transposed(data(3)), [columns, rows], 't');
    const prints = printsOf([...list.map((f) => f.tensor), turn.tensor]);
    expect(new Set(prints.map((p) => p.own)).size).toBe(4);
    expect([...list.map((f) => f.seen.bytes), turn.seen.bytes]).toEqual([corner, corner, corner, 4 * 8 * rows]);
  });
  test('that agree have the rest compared', () => {
    const late = data(0);
    late[rows * columns - 1] = -1;
    const [a, b, c] = [data(0), late, data(0)].map((v, i) => fileOf(v, [rows, columns], `w${i}`));
    const turn = fileOf(transposed(data(0)), [columns, rows], 't');
    const prints = printsOf([a!.tensor, b!.tensor, c!.tensor, turn.tensor]);
    expect([prints[0]!.own === prints[1]!.own, prints[0]!.own === prints[2]!.own]).toEqual([false, true]);
    expect([prints[0]!.turned === prints[3]!.own, prints[1]!.turned === prints[3]!.own]).toEqual([true, false]);
  });
  test('of a matrix that lies in memory may be any', () => {
    const [file, memory] = [fileOf(data(0), [rows, columns], 'w'), inMemory('f32', [rows, columns], data(0))];
    const [a, b] = printsOf([file.tensor, memory]);
    expect(a!.own).toBe(b!.own);
  });
});

test('the pass reads every weight at most once, and ties to the first', async () => {
  const graph = new Graph('g');
  const list = [
    counted([32, 32], 1),
    counted([32, 64], 1),
    turned([64, 32], 1),
    turned([32, 32], 1),
    counted([32, 32], 1),
    counted([16, 64], 1),
  ];
  const x = graph.addInput('x', tensorType('f32', [1]));
  list.forEach(({ tensor }, i) => {
    const inputs = [x, graph.addConstant(`w${i}`, tensor)];
    graph.addOutput(graph.append(new Node({ op: 'MatMul', inputs, results: [{ name: `y${i}`, type: null }] })).output);
  });
  await new PassManager(passes).plan('tie-weights').run(graph, { services: {} as never, contract: null });
  const products = [...graph.nodes].filter((n) => n.op === 'MatMul');
  const source = (n: Node): string => n.input(1)!.producer?.input(0)?.name ?? n.input(1)!.name;
  expect(products.map(source)).toEqual(['w0', 'w1', 'w1', 'w0', 'w0', 'w5']);
  expect(once(list)).toEqual([1, 1, 1, 1, 1, 0]);
});
