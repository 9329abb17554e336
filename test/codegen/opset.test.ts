import { describe, expect, test } from '@jest/globals';
import { encodeGraph, executable, readModelBytes, settleOpset, upgradeOpset } from '../../codegen/index.ts';
import { int64, type AttributeProto, type NodeProto, type TensorProto } from '../../codegen/onnx/proto.ts';
import { attributeTypes as kinds } from '../../codegen/onnx/schema.ts';
import { parseGraph } from '../../ir/index.ts';
import { codeOf, f32, floatsOf, graphAttribute, i64, intAttribute, boolOf, model, node, run, value } from './models.ts';

const x = floatsOf(
  Array.from({ length: 48 }, (_, i) => Math.sin(i * 1.7) * 2),
  [2, 4, 6],
);
const image = floatsOf(
  Array.from({ length: 32 }, (_, i) => Math.cos(i)),
  [1, 2, 4, 4],
);

const ints = (name: string, values: readonly number[]): AttributeProto => ({ name, type: kinds.ints, ints: values.map(int64) });
const real = (name: string, f: number): AttributeProto => ({ name, type: kinds.float, f });
const reals = (name: string, floats: readonly number[]): AttributeProto => ({ name, type: kinds.floats, floats });
const text = (name: string, s: string): AttributeProto => ({ name, type: kinds.string, s: Buffer.from(s) });

interface Old {
  readonly opset: number;
  readonly nodes: readonly NodeProto[];
  readonly initializer?: readonly TensorProto[];
  readonly picture?: true;
}

const cases: Readonly<Record<string, Old>> = {
  'Softmax of opset 11 over the last axis': { opset: 11, nodes: [node('Softmax', ['x'], ['y'], { attribute: [intAttribute('axis', 2)] })] },
  'Softmax of opset 12 over axis 1 and all that follow': { opset: 12, nodes: [node('Softmax', ['x'], ['y'])] },
  'LogSoftmax of opset 11 over axis -1': {
    opset: 11,
    nodes: [node('LogSoftmax', ['x'], ['y'], { attribute: [intAttribute('axis', -1)] })],
  },
  'LogSoftmax of opset 11 over axis 0': { opset: 11, nodes: [node('LogSoftmax', ['x'], ['y'], { attribute: [intAttribute('axis', 0)] })] },
  'Hardmax of opset 11': { opset: 11, nodes: [node('Hardmax', ['x'], ['y'], { attribute: [intAttribute('axis', 1)] })] },
  'Clip of opset 10': { opset: 10, nodes: [node('Clip', ['x'], ['y'], { attribute: [real('min', -0.5), real('max', 1)] })] },
  'Clip of opset 10 without a lower limit': { opset: 10, nodes: [node('Clip', ['x'], ['y'], { attribute: [real('max', 1)] })] },
  'Pad of opset 10': {
    opset: 10,
    nodes: [node('Pad', ['x'], ['y'], { attribute: [ints('pads', [0, 1, 0, 0, 0, 2]), real('value', 7)] })],
  },
  'Slice of opset 9': {
    opset: 9,
    nodes: [node('Slice', ['x'], ['y'], { attribute: [ints('starts', [1, 0]), ints('ends', [3, -1]), ints('axes', [1, 2])] })],
  },
  'TopK of opset 9': { opset: 9, nodes: [node('TopK', ['x'], ['y', 'places'], { attribute: [intAttribute('k', 2)] })] },
  'Dropout of opset 10': { opset: 10, nodes: [node('Dropout', ['x'], ['y'], { attribute: [real('ratio', 0.3)] })] },
  'Split of opset 11': {
    opset: 11,
    nodes: [node('Split', ['x'], ['y', 'z'], { attribute: [intAttribute('axis', 2), ints('split', [2, 4])] })],
  },
  'Split into equal parts of opset 13': { opset: 13, nodes: [node('Split', ['x'], ['y', 'z'], { attribute: [intAttribute('axis', 2)] })] },
  'Squeeze, Unsqueeze and ReduceMean of opset 11': {
    opset: 11,
    nodes: [
      node('Unsqueeze', ['x'], ['u'], { attribute: [ints('axes', [0])] }),
      node('Squeeze', ['u'], ['s'], { attribute: [ints('axes', [0])] }),
      node('ReduceMean', ['s'], ['y'], { attribute: [ints('axes', [1])] }),
    ],
  },
  'Scatter of opset 9': {
    opset: 9,
    nodes: [node('Scatter', ['x', 'at', 'new'], ['y'], { attribute: [intAttribute('axis', 1)] })],
    initializer: [i64('at', [1, 1, 2], [2, 3]), f32('new', [1, 1, 2], [9, 8])],
  },
  'Upsample of opset 7': {
    opset: 7,
    nodes: [node('Upsample', ['x'], ['y'], { attribute: [text('mode', 'nearest'), reals('scales', [1, 1, 2, 2])] })],
    picture: true,
  },
  'Upsample of opset 9, linear': {
    opset: 9,
    nodes: [node('Upsample', ['x', 'scales'], ['y'], { attribute: [text('mode', 'linear')] })],
    initializer: [f32('scales', [4], [1, 1, 2, 3])],
    picture: true,
  },
  'Resize of opset 10': {
    opset: 10,
    nodes: [node('Resize', ['x', 'scales'], ['y'], { attribute: [text('mode', 'nearest')] })],
    initializer: [f32('scales', [4], [1, 1, 3, 2])],
    picture: true,
  },
  'BatchNormalization of opset 7': {
    opset: 7,
    nodes: [node('BatchNormalization', ['x', 'a', 'b', 'm', 'v'], ['y'], { attribute: [intAttribute('spatial', 1)] })],
    initializer: [f32('a', [2], [1, 2]), f32('b', [2], [0, 1]), f32('m', [2], [0.1, 0.2]), f32('v', [2], [1, 0.5])],
    picture: true,
  },
  'RoiAlign of opset 10': {
    opset: 10,
    nodes: [
      node('RoiAlign', ['x', 'rois', 'batch'], ['y'], { attribute: [intAttribute('output_height', 2), intAttribute('output_width', 2)] }),
    ],
    initializer: [f32('rois', [1, 4], [0.3, 0.4, 2.6, 3.1]), i64('batch', [1], [0])],
    picture: true,
  },
  'GridSample of opset 16': {
    opset: 16,
    nodes: [node('GridSample', ['x', 'grid'], ['y'], { attribute: [text('mode', 'bicubic')] })],
    initializer: [f32('grid', [1, 1, 3, 2], [-0.5, 0.2, 0, 0, 0.7, -0.9])],
    picture: true,
  },
  'DFT of opset 17': {
    opset: 17,
    nodes: [node('Unsqueeze', ['x', 'last'], ['u']), node('DFT', ['u'], ['y'], { attribute: [intAttribute('axis', 2)] })],
    initializer: [i64('last', [1], [-1])],
  },
};

const bytesOf = ({ opset, nodes, initializer = [], picture }: Old): Uint8Array =>
  model(
    {
      input: [value('x', 'f32', picture ? [1, 2, 4, 4] : [2, 4, 6])],
      output: [{ name: 'y', type: { tensorType: { elemType: 1 } } }],
      node: nodes,
      initializer,
    },
    { irVersion: int64(8), opsetImport: [{ domain: '', version: int64(opset) }] },
  );

describe('an operator of an older opset means the same after the upgrade, in ONNX Runtime', () => {
  test.each(Object.keys(cases))('%s', async (name) => {
    const old = cases[name]!;
    const feeds = { x: old.picture ? image : x };
    const bytes = bytesOf(old);
    const graph = readModelBytes(bytes);
    upgradeOpset(graph);
    expect(graph.opsets.get('')).toBe(23);
    settleOpset(graph);
    expect(graph.opsets.get('')).toBeLessThanOrEqual(22);
    const [before, after] = [await run(bytes, feeds), await run(encodeGraph(graph), feeds)];
    expect(after['y']!.length).toBe(before['y']!.length);
    (after['y'] as number[]).forEach((v, i) => expect(Math.abs(v - (before['y'] as number[])[i]!)).toBeLessThan(1e-5));
  });

  test('also in the body of an If', async () => {
    const branch = (name: string, axis: number) =>
      graphAttribute(name, {
        name,
        output: [value('r', 'f32', [2, 4, 6])],
        node: [node('Softmax', ['x'], ['r'], { attribute: [intAttribute('axis', axis)] })],
      });
    const bytes = model(
      {
        input: [value('x', 'f32', [2, 4, 6]), value('c', 'bool', [])],
        output: [value('y', 'f32', [2, 4, 6])],
        node: [node('If', ['c'], ['y'], { attribute: [branch('then_branch', 1), branch('else_branch', 2)] })],
      },
      { irVersion: int64(8), opsetImport: [{ domain: '', version: int64(11) }] },
    );
    const graph = readModelBytes(bytes);
    upgradeOpset(graph);
    for (const c of [true, false]) {
      const [before, after] = [await run(bytes, { x, c: boolOf(c) }), await run(encodeGraph(graph), { x, c: boolOf(c) })];
      (after['y'] as number[]).forEach((v, i) => expect(Math.abs(v - (before['y'] as number[])[i]!)).toBeLessThan(1e-6));
    }
  });

  test('what no adapter takes is QC4104 with its name', () => {
    const down: Old = {
      opset: 10,
      nodes: [node('Resize', ['x', 'scales'], ['y'], { attribute: [text('mode', 'nearest')] })],
      initializer: [f32('scales', [4], [1, 1, 0.5, 0.5])],
      picture: true,
    };
    const graph = readModelBytes(bytesOf(down));
    expect(codeOf(() => upgradeOpset(graph))).toBe('QC4104');
  });
});

describe('random operators', () => {
  const noisy = bytesOf({ opset: 17, nodes: [node('RandomNormalLike', ['x'], ['n']), node('Add', ['x', 'n'], ['y'])] });

  test('stay in an opset that ONNX Runtime has them in', async () => {
    const graph = readModelBytes(noisy);
    upgradeOpset(graph);
    settleOpset(graph);
    expect((await run(encodeGraph(graph), { x }))['y']!.length).toBe(48);
  });

  test('draw the same numbers in every session while passes compare, and other graphs are not copied', async () => {
    const graph = readModelBytes(noisy);
    upgradeOpset(graph);
    const [first, second] = [await run(encodeGraph(executable(graph)), { x }), await run(encodeGraph(executable(graph)), { x })];
    expect(first).toEqual(second);
    expect(first['y']).not.toEqual(Array.from(x.data as Float32Array));
    expect([...graph.nodes][0]!.attributes.has('seed')).toBe(false);
    const plain = readModelBytes(bytesOf({ opset: 17, nodes: [node('Relu', ['x'], ['y'])] }));
    expect(executable(plain)).toBe(plain);
  });

  test('run beside a norm that opset 23 brought', async () => {
    const graph = parseGraph(`graph @g(%x: f32[2,4,6]) {
      const %g: f32[6] = random 1
      %n: f32[2,4,6] = RMSNormalization(%x, %g)
      %y: f32[2,4,6] = RandomNormalLike(%n)
      return %y
    }`);
    expect((await run(encodeGraph(executable(graph)), { x }))['y']!.length).toBe(48);
  });
});
