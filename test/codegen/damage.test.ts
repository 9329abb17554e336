import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { encodeGraph, readModel, readModelBytes } from '../../codegen/onnx/index.ts';
import { int64, type NodeProto } from '../../codegen/onnx/proto.ts';
import { attributeTypes as kinds } from '../../codegen/onnx/schema.ts';
import { tagBytes } from '../../codegen/onnx/wire.ts';
import { codeOf, f32, graphAttribute, i64, inFolder, intAttribute, localFunction, model, node, tensorAttribute, value } from './models.ts';

const x = value('x', 'f32', [4]);
const victim = model(
  {
    input: [x, value('c', 'bool', [])],
    output: [value('y', 'f32', [4])],
    valueInfo: [value('n', 'f32', ['k', null])],
    initializer: [
      f32('w', [300], Array(300).fill(1.5)),
      i64('s', [1], [4]),
      { name: 'f', dataType: 1, dims: [4], floatData: [1, 2, 3, 4] },
      { name: 't', dataType: 8, dims: [1], stringData: [Buffer.from('text')] },
    ],
    sparseInitializer: [{ values: f32('z', [1], [7]), indices: i64('', [1], [1]), dims: [4] }],
    node: [
      node('Constant', [], ['k'], { attribute: [tensorAttribute('value', f32('', [4], [1, 2, 3, 4]))] }),
      node('Fn', ['x'], ['n'], { domain: 'local', attribute: [intAttribute('a', 3), { name: 'fs', type: kinds.floats, floats: [1, 2] }] }),
      node('If', ['c'], ['y'], {
        attribute: ['then_branch', 'else_branch'].map((name) =>
          graphAttribute(name, { output: [value('r', 'f32', [4])], node: [node('Add', ['n', 'k'], ['r'])] }),
        ),
      }),
    ],
  },
  {
    functions: [localFunction('Fn', [node('Neg', ['x'], ['y'])])],
    opsetImport: [
      { domain: '', version: int64(21) },
      { domain: 'local', version: int64(1) },
    ],
    metadataProps: [{ key: 'a', value: 'b' }],
  },
);

/** Reads from memory and from a file, and writes what came out; only a QcError may be thrown. Both must agree. */
function handle(path: string, bytes: Uint8Array): string | null {
  writeFileSync(path, bytes);
  const whole = (read: () => ReturnType<typeof readModel>): string | null => codeOf(() => encodeGraph(read()));
  const fromFile = whole(() => readModel(path));
  expect(whole(() => readModelBytes(bytes)) === null).toBe(fromFile === null);
  return fromFile;
}

describe('damaged files give coded errors only', () => {
  test('the whole model is fine', () => inFolder((folder) => expect(handle(join(folder, 'm'), victim)).toBeNull()));
  test('cut at every byte', () =>
    inFolder((folder) => {
      const path = join(folder, 'm');
      const codes = new Map<string | null, number>();
      for (let end = 0; end < victim.length; end++) {
        const code = handle(path, victim.subarray(0, end));
        codes.set(code, (codes.get(code) ?? 0) + 1);
      }
      // A cut between two fields of the model is still a protobuf; anywhere else it is none.
      expect(codes.get('QC4101')).toBeGreaterThan(victim.length * 0.95);
    }));
  test('with bytes changed at random', () =>
    inFolder((folder) => {
      const path = join(folder, 'm');
      const change = fc.record({ at: fc.nat(victim.length - 1), to: fc.nat(255) });
      fc.assert(
        fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
          const bytes = Uint8Array.from(victim);
          for (const { at, to } of changes) bytes[at] = to;
          handle(path, bytes);
        }),
        { numRuns: 1500, seed: 7 },
      );
    }));
  test('noise', () =>
    inFolder((folder) => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void handle(join(folder, 'm'), bytes)),
        { numRuns: 1000, seed: 7 },
      );
    }));
  test('an error names the file and the byte', () =>
    inFolder((folder) => {
      const path = join(folder, 'cut.onnx');
      writeFileSync(path, victim.subarray(0, 1000));
      expect(() => readModel(path)).toThrow(/^cut\.onnx: error QC4101: the protobuf does not decode at byte \d+: /);
    }));
});

describe('hostile files', () => {
  test('graphs nested beyond the limit of protobuf readers', () =>
    inFolder((folder) => {
      // Each level wraps the one before: graph { node { attribute { g } } }; padded so that the reader of files walks it, too.
      let graph: Uint8Array = tagBytes(10, 2000);
      graph = Buffer.concat([graph, Buffer.alloc(2000, 0x61)]);
      for (let i = 0; i < 60; i++) for (const field of [6, 5, 1]) graph = Buffer.concat([tagBytes(field, graph.length), graph]);
      expect(handle(join(folder, 'm'), Buffer.concat([tagBytes(7, graph.length), graph]))).toBe('QC4101');
    }));
  test('groups nested without end', () =>
    inFolder((folder) => expect(handle(join(folder, 'm'), Buffer.alloc(100_000, 0x0b))).toBe('QC4101')));
  test('lengths beyond the file allocate nothing', () =>
    inFolder((folder) => {
      for (const length of [2 ** 31 - 1, 2 ** 40, Number.MAX_SAFE_INTEGER]) {
        expect(handle(join(folder, 'm'), Buffer.concat([tagBytes(7, length), Buffer.alloc(64)]))).toBe('QC4101');
        const tensor = Buffer.concat([tagBytes(9, length), Buffer.alloc(64)]);
        const graph = Buffer.concat([tagBytes(5, tensor.length), tensor]);
        expect(handle(join(folder, 'm'), Buffer.concat([tagBytes(7, graph.length), graph]))).toBe('QC4101');
      }
    }));
  test('an attribute named __proto__ is an attribute', () => {
    const graph = readModelBytes(
      model({ output: [value('y', 'f32', [])], node: [node('Op', [], ['y'], { attribute: [intAttribute('__proto__', 3)] })] }),
    );
    expect([...graph.nodes][0]!.attributes.get('__proto__')).toEqual({ kind: 'int', value: 3n });
  });
});

test('50,000 nodes, sorted and in reverse, are read in seconds', () => {
  const count = 50_000;
  const nodes: NodeProto[] = Array.from({ length: count }, (_, i) => node('Add', [i === 0 ? 'x' : `v${i}`, `w${i % 100}`], [`v${i + 1}`]));
  const initializer = Array.from({ length: 100 }, (_, i) => f32(`w${i}`, [4], [1, 2, 3, 4]));
  const valueInfo = Array.from({ length: count - 1 }, (_, i) => value(`v${i + 1}`, 'f32', ['n', 4]));
  for (const order of [nodes, nodes.toReversed()]) {
    const bytes = model({ input: [x], output: [value(`v${count}`, 'f32', [4])], initializer, node: order, valueInfo });
    const start = performance.now();
    const graph = readModelBytes(bytes);
    const read = performance.now();
    const out = encodeGraph(graph);
    const written = performance.now();
    expect(graph.size).toBe(count);
    expect([...graph.nodes][0]!.input(0)).toBe(graph.inputs[0]);
    console.info(
      `${bytes.length} bytes: read in ${(read - start).toFixed(0)} ms, ${out.length} written in ${(written - read).toFixed(0)} ms`,
    );
    expect(written - start).toBeLessThan(30_000);
  }
});
