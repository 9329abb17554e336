import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { packedShape, packWeight, type StoredBits } from '../../codegen/kernels/packing.ts';
import { dequantized, offsetProduct, packedInt4, quantizedWeight, unsignedBytes } from '../../codegen/targets/quantized.ts';
import { lowerTo, targetNamed, targets } from '../../codegen/index.ts';
import { dense, floats, Graph, groupIndex, int, int64s, Node, roundHalfEven, tensorType } from '../../ir/index.ts';

const bytesOf = (v: ArrayBufferView): number[] => [...new Uint8Array(v.buffer, v.byteOffset, v.byteLength)];

/** "Packing" in docs/operators.md, code by code. */
function plainPacking(codes: Int8Array, rows: number, columns: number, bits: StoredBits): number[] {
  const [tiles = 0, steps = 0] = packedShape(rows, columns, bits);
  const packed: number[] = Array(tiles * steps * bits * 64).fill(0);
  codes.forEach((code, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const k = row % 32;
    const put = (word: number, shift: number, value: number) => {
      const line = (Math.floor(column / 16) * steps + Math.floor(row / 32)) * bits + word;
      packed[line * 64 + (column % 16) * 4 + (k % 4)]! |= value << shift;
    };
    const [stored, q] = [code + 2 ** (bits - 1), k >> 2];
    if (bits === 8) put(q, 0, stored);
    if (bits === 4) put(q >> 1, (q & 1) * 4, stored);
    if (bits === 3) [put(q >> 2, (q & 3) * 2, stored & 3), put(2, q, stored >> 2)].forEach(() => {});
  });
  return packed;
}

const size = (max: number) => fc.integer({ min: 1, max });

describe('packed weights', () => {
  test.each([3, 4, 8] as const)('have each code where the layout says: %i bits', (bits) =>
    fc.assert(
      fc.property(
        size(70),
        size(40),
        fc.infiniteStream(fc.integer({ min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 })),
        (rows, columns, s) => {
          const codes = Int8Array.from({ length: rows * columns }, () => s.next().value as number);
          expect([...packWeight(codes, rows, columns, bits)]).toEqual(plainPacking(codes, rows, columns, bits));
        },
      ),
      { numRuns: 60 },
    ),
  );
});

const weight = fc
  .record({
    sizes: fc.array(size(5), { minLength: 1, maxLength: 3 }),
    columns: size(5),
    bits: fc.constantFrom(3, 4, 6, 8),
    numbers: fc.infiniteStream(
      fc.oneof(
        fc.float({ noNaN: true, noDefaultInfinity: true }),
        fc.constantFrom(4194303.5, -4194304.5, 8388608, -12582913, -12582912, -3e38),
        fc.integer({ min: -40, max: 40 }).map((x) => x / 2),
      ),
    ),
    steps: fc.infiniteStream(fc.oneof(fc.constantFrom(0.5, 1, 2), fc.float({ min: Math.fround(1e-3), max: 10, noNaN: true }))),
    zeros: fc.infiniteStream(fc.integer({ min: -20, max: 20 })),
  })
  .map(({ sizes, columns, bits, numbers, steps, zeros }) => {
    const rows = sizes.reduce((a, b) => a + b);
    const take = (n: number, s: Iterator<number>) => Float32Array.from({ length: n }, () => s.next().value as number);
    const [w, scale, zero] = [take(rows * columns, numbers), take(sizes.length * columns, steps), take(sizes.length * columns, zeros)];
    return { sizes, rows, columns, w, scale, zero, qmin: -(2 ** (bits - 1)), qmax: 2 ** (bits - 1) - 1 };
  });

/** W behind its quantizer, in a graph. */
function quantizer({ sizes, rows, columns, w, scale, zero, qmin, qmax }: ReturnType<typeof weight.generate>['value']): Node {
  const graph = new Graph('g');
  const shape = [sizes.length, columns];
  const constants = [dense([rows, columns], w), dense(shape, scale), dense(shape, zero), int64s([rows], groupIndex(sizes))];
  const inputs = constants.map((c, i) => graph.addConstant(`c${i}`, c));
  const results = [{ name: 'q', type: tensorType('f32', [rows, columns]) }];
  return graph.append(new Node({ op: 'qc.FakeQuantize', inputs, attributes: { qmin: int(qmin), qmax: int(qmax) }, results }));
}

describe('quantized weights', () => {
  test('have the codes, values, products and bytes of the definitions', () =>
    fc.assert(
      fc.property(weight, (given) => {
        const { sizes, rows, columns, w, scale, zero, qmin, qmax } = given;
        const q = quantizedWeight(quantizer(given).output)!;
        const at = (i: number) => groupIndex(sizes)[Math.floor(i / columns)]! * columns + (i % columns);
        const codes = Int8Array.from(w, (x, i) =>
          Math.min(Math.max(roundHalfEven(Math.fround(x / scale[at(i)]!)) + zero[at(i)]!, qmin), qmax),
        );
        expect(bytesOf(q.codes.bytes())).toEqual(bytesOf(codes));
        const values = Float32Array.from(codes, (c, i) => (c - zero[at(i)]!) * scale[at(i)]!);
        expect(bytesOf(dequantized(q).bytes())).toEqual(bytesOf(values));
        const offset = Float32Array.from({ length: rows }, (_, r) => r / 3 - 1);
        const sums = new Float64Array(columns);
        codes.forEach((c, i) => (sums[i % columns]! += offset[Math.floor(i / columns)]! * (c - zero[at(i)]!) * scale[at(i)]!));
        expect(floats(offsetProduct(offset, q))).toEqual(Float32Array.from(sums));
        expect(bytesOf(unsignedBytes(q.codes).bytes())).toEqual([...codes].map((c) => c + 128));
        const nibbles = Array.from(
          { length: Math.ceil(codes.length / 2) },
          (_, i) => (codes[2 * i]! & 15) | (((codes[2 * i + 1] ?? 0) & 15) << 4),
        );
        expect(bytesOf(packedInt4(q.codes).bytes())).toEqual(nibbles);
      }),
    ));

  test.each([4, 8])('of %i bits lie by columns in MatMulNBits, a short block filled up with the code of zero', (bits) => {
    const [sizes, columns] = [[32, 32, 21], 3];
    const rows = 85;
    const w = Float32Array.from({ length: rows * columns }, (_, i) => ((i * 7) % 13) - 6);
    const graph = new Graph('g');
    const x = graph.addInput('x', tensorType('f32', ['n', rows]));
    const tables = [1, 0].map((v) => dense([3, columns], new Float32Array(9).fill(v)));
    const constants = [dense([rows, columns], w), ...tables, int64s([rows], groupIndex(sizes))].map((c, i) =>
      graph.addConstant(`c${i}`, c),
    );
    const attributes = { qmin: int(-(2 ** (bits - 1))), qmax: int(2 ** (bits - 1) - 1) };
    const q = graph.append(
      new Node({
        op: 'qc.FakeQuantize',
        inputs: constants,
        attributes,
        results: [{ name: 'q', type: tensorType('f32', [rows, columns]) }],
      }),
    );
    graph.addOutput(
      graph.append(new Node({ op: 'MatMul', inputs: [x, q.output], results: [{ name: 'y', type: tensorType('f32', ['n', columns]) }] }))
        .output,
    );
    lowerTo(targetNamed(targets, 'ort-cpu'), graph);
    const product = [...graph.nodes].find((n) => n.op === 'com.microsoft.MatMulNBits')!;
    const stored = product.input(1)!.constant!.bytes();
    const lift = 2 ** (bits - 1);
    const code = (c: number, row: number) =>
      (bits === 8 ? stored[c * 96 + row]! : (stored[c * 48 + (row >> 1)]! >> ((row & 1) * 4)) & 15) - lift;
    for (let c = 0; c < columns; c++)
      for (let row = 0; row < 96; row++) expect(code(c, row)).toBe(row < rows ? Math.min(w[row * columns + c]!, lift - 1) : 0);
  });
});
