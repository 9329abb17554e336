import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { checkReplaceable, encodeGraph, readModel, readModelBytes, writeModel } from '../../codegen/onnx/index.ts';
import { int64, type TensorProto } from '../../codegen/onnx/proto.ts';
import { tagBytes } from '../../codegen/onnx/wire.ts';
import { Graph } from '../../ir/graph.ts';
import { dense, floats, inMemory, lazy } from '../../ir/tensor.ts';
import { codeOf, f32, graphAttribute, inFolder, model, node, tensorAttribute, value } from './models.ts';

/** What can lie in the place of a file, with what makes it and then removes it. */
const oddities: readonly (readonly [string, (path: string) => Promise<() => Promise<void>> | (() => void)])[] = [
  ['a folder', (path) => (mkdirSync(path), () => rmSync(path, { recursive: true }))],
  ['a pipe', (path) => (execFileSync('mkfifo', [path]), () => rmSync(path))],
  ['a link to .*package.json', (path) => (symlinkSync(join(process.cwd(), 'package.json'), path), () => rmSync(path))],
  ['a link to elsewhere', (path) => (symlinkSync('elsewhere', path), () => rmSync(path))],
  [
    'a socket',
    async (path) => {
      const server = createServer();
      await once(server.listen(path), 'listening');
      return async () => void (await once(server.close(), 'close'));
    },
  ],
];
const y = value('y', 'f32', [512]);
const ramp = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => from + i);
const external = (name: string, dims: readonly number[], entries: Readonly<Record<string, string | number>>): TensorProto => ({
  name,
  dataType: 1,
  dims: dims.map((d) => int64(d)),
  dataLocation: 1,
  externalData: Object.entries(entries).map(([key, v]) => ({ key, value: String(v) })),
});
const saved = (folder: string, bytes: Uint8Array): string => {
  const path = join(folder, 'm.onnx');
  writeFileSync(path, bytes);
  return path;
};

describe('weights stay in the model file until they are read', () => {
  const bytes = model({
    initializer: [f32('big', [512], ramp(512)), f32('small', [2], [8, 9])],
    input: [value('c', 'bool', [])],
    output: [y],
    node: [
      node('Constant', [], ['k'], { attribute: [tensorAttribute('value', f32('', [400], ramp(400, 7)))] }),
      node('If', ['c'], ['y'], {
        attribute: [
          graphAttribute('then_branch', { initializer: [f32('inner', [512], ramp(512, 3))], output: [value('inner', 'f32', [512])] }),
        ],
      }),
    ],
  });
  test('in initializers, Constant nodes and inner graphs', () =>
    inFolder((folder) => {
      const graph = readModel(saved(folder, bytes));
      const [big, small, k] = [...graph.constants].map((v) => v.constant!);
      const [inner] = [...[...graph.nodes][0]!.bodies[0]!.constants].map((v) => v.constant!);
      expect([big, small, k, inner].map((t) => t!.origin.kind)).toEqual(['file', 'memory', 'file', 'file']);
      expect([big!, k!, inner!].map((t) => Array.from(floats(t)))).toEqual([ramp(512), ramp(400, 7), ramp(512, 3)]);
      expect(Array.from(floats(small!))).toEqual([8, 9]);
      expect(Buffer.compare(encodeGraph(graph), encodeGraph(readModelBytes(bytes)))).toBe(0);
    }));
  test('a file that was replaced since is noticed', () =>
    inFolder((folder) => {
      const path = saved(folder, bytes);
      const [big] = readModel(path).constants;
      writeFileSync(path, Buffer.concat([bytes, Buffer.alloc(8)]));
      expect(codeOf(() => big!.constant!.bytes())).toBe('QC4102');
    }));
  test('a model of 5 GiB opens in little time and memory', () =>
    inFolder((folder) => {
      const path = join(folder, 'huge.onnx');
      // One f32 tensor of 5 GiB, most of it a hole in the file; 3.0 as the last element.
      const length = 5 * 2 ** 30;
      const head = Buffer.from([0x08, ...varint(length / 4), 0x10, 1, 0x42, 1, 0x77]);
      const tag = tagBytes(9, length);
      const tensor = tagBytes(5, head.length + tag.length + length);
      const prefix = Buffer.concat([tagBytes(7, tensor.length + head.length + tag.length + length), tensor, head, tag]);
      const fd = openSync(path, 'w');
      writeSync(fd, prefix);
      ftruncateSync(fd, prefix.length + length);
      writeSync(fd, new Uint8Array(Float32Array.of(3).buffer), 0, 4, prefix.length + length - 4);
      closeSync(fd);
      const [w] = readModel(path).constants;
      expect([w!.name, w!.constant!.shape, w!.constant!.origin]).toEqual([
        'w',
        [length / 4],
        { kind: 'file', path, offset: prefix.length, length },
      ]);
      truncateSync(path, prefix.length + length - 1);
      expect(codeOf(() => readModel(path))).toBe('QC4101');
    }));
});

const varint = (n: number): number[] => (n < 128 ? [n] : [(n % 128) + 128, ...varint(Math.floor(n / 128))]);

describe('external data', () => {
  const open = (folder: string, ...tensors: TensorProto[]): Graph => readModel(saved(folder, model({ initializer: tensors })));
  test('is read by range', () =>
    inFolder((folder) => {
      writeFileSync(join(folder, 'w.bin'), new Uint8Array(Float32Array.from(ramp(10)).buffer));
      const graph = open(
        folder,
        external('a', [3], { location: 'w.bin', offset: 8, length: 12 }),
        external('b', [10], { location: './w.bin' }),
      );
      expect([...graph.constants].map((v) => Array.from(floats(v.constant!)))).toEqual([[2, 3, 4], ramp(10)]);
      const beside = readModelBytes(readFileSync(join(folder, 'm.onnx')), join(folder, 'other.onnx'));
      expect(Array.from(floats([...beside.constants][0]!.constant!))).toEqual([2, 3, 4]);
    }));
  const refused: readonly (readonly [string, Readonly<Record<string, string | number>>, string])[] = [
    ['a missing file', { location: 'none.bin' }, 'QC4102'],
    ['a folder', { location: 'sub' }, 'QC4102'],
    ['a file that is too short', { location: 'w.bin', offset: 32 }, 'QC4102'],
    ['a length that does not fit the type', { location: 'w.bin', length: 8 }, 'QC1601'],
    ['an offset that is no number', { location: 'w.bin', offset: '-4' }, 'QC4106'],
    ['an absolute path', { location: '/etc/hostname' }, 'QC4103'],
    ['a drive', { location: 'C:\\w.bin' }, 'QC4103'],
    ['a path that leaves the folder', { location: '../w.bin' }, 'QC4103'],
    ['a path that leaves in the middle', { location: 'sub/../../w.bin' }, 'QC4103'],
    ['a path that leaves with backslashes', { location: 'sub\\..\\..\\w.bin' }, 'QC4103'],
    ['a link that leaves', { location: 'link.bin' }, 'QC4103'],
    ['a file below a link that leaves', { location: 'out/w.bin' }, 'QC4103'],
    ['no location', { offset: 0 }, 'QC4103'],
    ['a NUL in the location', { location: 'w.bin\0' }, 'QC4103'],
  ];
  test.each(refused)('%s is refused', (_, entries, code) =>
    inFolder((outside) => {
      const folder = join(outside, 'model');
      mkdirSync(join(folder, 'sub'), { recursive: true });
      for (const place of [outside, folder]) writeFileSync(join(place, 'w.bin'), new Uint8Array(40));
      symlinkSync(join(outside, 'w.bin'), join(folder, 'link.bin'));
      symlinkSync(outside, join(folder, 'out'));
      expect(codeOf(() => open(folder, external('a', [3], entries)))).toBe(code);
    }),
  );
  test('a download cache that links model and data into one folder opens', () =>
    inFolder((folder) => {
      for (const d of ['blobs', 'snapshot']) mkdirSync(join(folder, d));
      writeFileSync(join(folder, 'blobs/1'), model({ initializer: [external('a', [1], { location: 'm.data' })] }));
      writeFileSync(join(folder, 'blobs/2'), new Uint8Array(Float32Array.of(6).buffer));
      symlinkSync('../blobs/1', join(folder, 'snapshot/m.onnx'));
      symlinkSync('../blobs/2', join(folder, 'snapshot/m.data'));
      expect(Array.from(floats([...readModel(join(folder, 'snapshot/m.onnx')).constants][0]!.constant!))).toEqual([6]);
    }));
  test('bytes without a file have none', () => {
    expect(codeOf(() => readModelBytes(model({ initializer: [external('a', [3], { location: 'w.bin' })] })))).toBe('QC4102');
  });
});

describe('writing', () => {
  const graph = (): Graph => {
    const g = new Graph('g');
    const big = dense([300], ramp(300));
    g.addOutput(g.addConstant('a', big));
    g.addConstant('same', big);
    g.addConstant('small', dense([2], [1, 2]));
    g.addConstant('b', inMemory('u8', [5000], new Uint8Array(5000).fill(7)));
    return g;
  };
  test('a side file holds long constants once each, on pages', () =>
    inFolder((folder) => {
      const path = join(folder, 'm.onnx');
      const { files } = writeModel(graph(), path, { externalData: 'always' });
      expect(files.map((f) => f.path)).toEqual([path, `${path}.data`]);
      expect(files[1]!.bytes).toBe(4096 + 5000);
      expect(readdirSync(folder)).toEqual(['m.onnx', 'm.onnx.data']);
      const origins = [...readModel(path).constants].map((v) => v.constant!.origin);
      expect(origins.map((o) => (o.kind === 'file' ? o.offset : null))).toEqual([0, 0, null, 4096]);
      expect(Buffer.compare(encodeGraph(readModel(path)), encodeGraph(graph()))).toBe(0);
    }));
  test('a model may be written over the file that it reads', () =>
    inFolder((folder) => {
      const path = join(folder, 'm.onnx');
      writeModel(graph(), path, { externalData: 'always' });
      writeModel(readModel(path), path, { externalData: 'always' });
      expect(Buffer.compare(encodeGraph(readModel(path)), encodeGraph(graph()))).toBe(0);
    }));
  test('a constant that fails leaves the old file and nothing else', () =>
    inFolder((folder) => {
      const path = join(folder, 'm.onnx');
      writeFileSync(path, 'old');
      const g = graph();
      g.addConstant(
        'bad',
        lazy('f32', [1000], () => new Float32Array(3)),
      );
      for (const externalData of ['always', 'never'] as const) expect(codeOf(() => writeModel(g, path, { externalData }))).toBe('QC1601');
      expect([readdirSync(folder), readFileSync(path, 'utf8')]).toEqual([['m.onnx'], 'old']);
    }));
  test('a folder that is not there, or a folder in the way, is QC4201', () =>
    inFolder((folder) => {
      expect(codeOf(() => writeModel(graph(), join(folder, 'none/m.onnx')))).toBe('QC4201');
      mkdirSync(join(folder, 'm.onnx'));
      expect(codeOf(() => writeModel(graph(), join(folder, 'm.onnx'), { externalData: 'always' }))).toBe('QC4201');
      expect([readdirSync(folder), existsSync(join(folder, 'm.onnx.data'))]).toEqual([['m.onnx'], false]);
    }));
  test.each(oddities)('%s in the place of the model or of its weights is refused with QC4201, and stays', (kind, make) =>
    inFolder(async (folder) => {
      for (const name of ['m.onnx', 'm.onnx.data']) {
        const place = join(folder, name);
        const remove = await make(place);
        const before = lstatSync(place);
        const write = (): unknown => writeModel(graph(), join(folder, 'm.onnx'), { externalData: 'always' });
        expect(write).toThrow(new RegExp(`QC4201: cannot write .*${name}: ${kind}`));
        expect([lstatSync(place).ino, lstatSync(place).mode, readdirSync(folder)]).toEqual([before.ino, before.mode, [name]]);
        await remove();
      }
    }),
  );
  // Not by writing: a test that fails must not leave this machine without the device.
  test('a device is refused', () => {
    expect(() => checkReplaceable('/dev/null')).toThrow('QC4201: cannot write /dev/null: a device is there');
  });
  test('a regular file is replaced, and nothing is in the way of a new one', () =>
    inFolder((folder) => {
      writeFileSync(join(folder, 'm.onnx'), 'old');
      for (const name of ['m.onnx', 'new.onnx']) expect(() => checkReplaceable(join(folder, name))).not.toThrow();
    }));
  const header = Buffer.from('{"__metadata__":{"format":"pt"}}');
  const safetensors = Buffer.concat([Buffer.from([header.length, 0, 0, 0, 0, 0, 0, 0]), header]);
  test.each([
    ['model.safetensors', safetensors, 'safetensors'],
    ['model.onnx', safetensors, 'safetensors'],
    ['empty.safetensors', '', 'safetensors'],
    ['model.gguf', 'GGUF\x03\x00\x00\x00', 'GGUF'],
    ['model.pt', 'PK\x03\x04\x00\x00', 'PyTorch'],
    ['pytorch_model.bin', Buffer.from([0x80, 0x02, 0x8a, 0x0a]), 'PyTorch'],
    ['odd.bin', 'what?', 'PyTorch'],
  ])('%s in the place of a model is called what it is, with the way to a model', (name, content, format) =>
    inFolder((folder) => {
      const path = join(folder, name);
      writeFileSync(path, content);
      expect(() => readModel(path)).toThrow(
        new RegExp(
          `^${name}: error QC4101: this is a file of weights, of ${format}, .*\\n.*note: the protobuf [^]*hint: export the model to ONNX`,
        ),
      );
    }),
  );
  test.each(['m.onnx.data', 'm.onnx_data'])('%s in the place of a model points to the model beside it', (name) =>
    inFolder((folder) => {
      const path = join(folder, name);
      writeFileSync(path, Buffer.alloc(64, 0xff));
      expect(() => readModel(path)).toThrow(/QC4101: this file holds the weights [^]*hint: .*there is no m\.onnx beside it/);
      writeModel(graph(), join(folder, 'm.onnx'));
      expect(() => readModel(path)).toThrow(new RegExp(`hint: give the model beside it: ${join(folder, 'm.onnx')}`));
    }),
  );
  test.each(['m.onnx', 'm.bin', 'm.onnx.data'])('a model is read whatever its name: %s', (name) =>
    inFolder((folder) => {
      writeModel(graph(), join(folder, name));
      expect(readModel(join(folder, name)).name).toBe(graph().name);
    }),
  );
  test('a damaged model keeps its message', () =>
    inFolder((folder) => {
      writeFileSync(join(folder, 'm.onnx'), 'what?');
      expect(() => readModel(join(folder, 'm.onnx'))).toThrow(/^m\.onnx: error QC4101: the protobuf does not decode at byte \d+: .*$/);
    }));
  test('what is not a file cannot be read', () =>
    inFolder((folder) => {
      expect([codeOf(() => readModel(join(folder, 'none.onnx'))), codeOf(() => readModel(folder))]).toEqual(['QC2109', 'QC2109']);
    }));
  test('more than 2 GB in one protobuf is refused before anything is computed', () =>
    inFolder((folder) => {
      const g = new Graph('g');
      g.addConstant(
        'w',
        lazy('u8', [2 ** 31], () => {
          throw new Error('computed');
        }),
      );
      expect(codeOf(() => writeModel(g, join(folder, 'm.onnx'), { externalData: 'never' }))).toBe('QC4107');
    }));
});
