import { describe, expect, test } from '@jest/globals';
import { upgradeOpset } from '../../codegen/index.ts';
import { encodeGraph, readModelBytes } from '../../codegen/onnx/index.ts';
import { attributeTypes } from '../../codegen/onnx/schema.ts';
import type { AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto } from '../../codegen/onnx/proto.ts';
import { decodeModel, int64 } from '../../codegen/onnx/proto.ts';
import { eachNode, verify, type Graph } from '../../ir/index.ts';
import {
  boolOf,
  codeOf,
  f32,
  floatsOf,
  graphAttribute,
  intAttribute,
  localFunction,
  model,
  node,
  run,
  value,
  type Feeds,
} from './models.ts';

const opset = (version: number) => [{ domain: '', version: int64(version) }];
const both = [
  { domain: '', version: int64(21) },
  { domain: 'local', version: int64(1) },
];
const made = (name: string, nodes: readonly NodeProto[], more: Partial<FunctionProto> = {}): FunctionProto =>
  localFunction(name, nodes, { opsetImport: both, ...more });
const call = (name: string, input: readonly string[], output: readonly string[], attribute: readonly AttributeProto[] = []) =>
  node(name, input, output, { domain: 'local', attribute });
/** An attribute that takes its value from the one of the call named `from`. */
const reference = (name: string, from: string, type: number): AttributeProto => ({ name, refAttrName: from, type });

const withFunctions = (functions: readonly FunctionProto[], graph: GraphProto, more: Partial<ModelProto> = {}): Uint8Array =>
  model(
    { input: [value('x', 'f32', ['n', 3])], output: [value('y', 'f32', ['n', 3])], ...graph },
    {
      functions: functions.map((f) => ({ ...f, opsetImport: f.opsetImport?.length === 1 ? f.opsetImport : both })),
      opsetImport: both,
      ...more,
    },
  );

const x = floatsOf([1, -2, 3.5, -4, 0.25, 6], [2, 3]);

/** Reads for a compile: no call is left, names are used once, and ONNX Runtime gives what it gives for the model as it is. */
async function expectInlined(bytes: Uint8Array, expected: Record<string, unknown[]> | null = null, feeds: Feeds = { x }): Promise<Graph> {
  const graph = readModelBytes(bytes, undefined, { purpose: 'compile' });
  upgradeOpset(graph);
  verify(graph);
  const nodes = [...eachNode(graph)];
  expect(nodes.filter((n) => n.op.startsWith('local.')).map((n) => n.op)).toEqual([]);
  const names = nodes.map((n) => n.name).filter((name) => name !== '');
  expect(new Set(names).size).toBe(names.length);
  expect(await run(encodeGraph(graph), feeds)).toEqual(expected ?? (await run(bytes, feeds)));
  return graph;
}

const add = made('AddOne', [
  node('Constant', [], ['one'], { attribute: [{ name: 'value_float', type: attributeTypes.float, f: 1 }] }),
  node('Add', ['x', 'one'], ['y']),
]);
const twice = made('AddTwo', [call('AddOne', ['x'], ['once']), call('AddOne', ['once'], ['y'])]);
const clip = made('Between', [node('Clip', ['x', 'low', 'high'], ['y'])], { input: ['x', 'low', 'high'] });
const softmax = made('Soft', [node('Softmax', ['x'], ['y'], { attribute: [reference('axis', 'over', attributeTypes.int)] })], {
  attributeProto: [intAttribute('over', 0)],
});
const bare = made('Bare', [node('Softmax', ['x'], ['y'], { attribute: [reference('axis', 'over', attributeTypes.int)] })], {
  attribute: ['over'],
});

describe('calls of local functions are replaced by their bodies', () => {
  test('nested, and called twice', async () => {
    const graph = await expectInlined(
      withFunctions([add, twice], { node: [call('AddTwo', ['x'], ['a']), call('AddTwo', ['a'], ['b']), call('AddOne', ['b'], ['y'])] }),
    );
    expect([...graph.nodes].filter((n) => n.op === 'Add')).toHaveLength(5);
  });
  test('an operand that is left out, in the middle and at the end', async () => {
    const constants = [f32('low', [], [-1]), f32('high', [], [2])];
    await expectInlined(withFunctions([clip], { initializer: constants, node: [call('Between', ['x', '', 'high'], ['y'])] }));
    await expectInlined(withFunctions([clip], { initializer: constants, node: [call('Between', ['x', 'low'], ['y'])] }));
    await expectInlined(withFunctions([clip], { initializer: constants, node: [call('Between', ['x', 'low', 'high'], ['y'])] }));
  });
  test("an attribute of the call, the function's default for it, and neither", async () => {
    const given = (name: string, attribute: readonly AttributeProto[]) =>
      withFunctions([softmax, bare], { node: [call(name, ['x'], ['y'], attribute)] });
    const axes = async (bytes: Uint8Array): Promise<unknown> =>
      [...(await expectInlined(bytes)).nodes].map((n) => n.attributes.get('axis'));
    expect(await axes(given('Soft', []))).toEqual([{ kind: 'int', value: 0n }].map((a) => expect.objectContaining({ kind: a.kind })));
    await expectInlined(given('Soft', [intAttribute('over', 1)]));
    await expectInlined(given('Bare', [intAttribute('over', 0)]));
    expect(await axes(given('Bare', []))).toEqual([undefined]);
  });
  test('a body with an If that captures operands and values, and has names of its own', async () => {
    // Inside, %y is a value of the branch, %half one of the function, %x its operand, %x_0 another one of the branch.
    const branch = (name: string, op: string): AttributeProto =>
      graphAttribute(`${name}_branch`, {
        name,
        node: [node(op, ['x', 'half'], ['x_0']), node('Mul', ['x_0', 'factor'], [`${name}_y`])],
        output: [value(`${name}_y`, 'f32', ['n', 3])],
      });
    const choose = made(
      'Choose',
      [node('Mul', ['x', 'factor'], ['half']), node('If', ['flag'], ['y'], { attribute: [branch('then', 'Add'), branch('else', 'Sub')] })],
      { input: ['x', 'factor', 'flag'] },
    );
    const bytes = withFunctions([choose], {
      input: [value('x', 'f32', ['n', 3]), value('flag', 'bool', [])],
      initializer: [f32('k', [], [0.5]), f32('half', [], [3])],
      node: [call('Choose', ['x', 'k', 'flag'], ['x_0']), call('Choose', ['x_0', 'half', 'flag'], ['y'])],
    });
    for (const flag of [true, false]) await expectInlined(bytes, null, { x, flag: boolOf(flag) });
  });
  test('attributes by reference inside the bodies of an If', async () => {
    const branch = (name: string, op: string): AttributeProto =>
      graphAttribute(`${name}_branch`, {
        name,
        node: [node(op, ['x'], [`${name}_y`], { attribute: [reference('axis', 'over', attributeTypes.int)] })],
        output: [value(`${name}_y`, 'f32', ['n', 3])],
      });
    const choose = made('Choose', [node('If', ['flag'], ['y'], { attribute: [branch('then', 'Softmax'), branch('else', 'LogSoftmax')] })], {
      input: ['x', 'flag'],
      attribute: ['over'],
    });
    const bytes = withFunctions([choose], {
      input: [value('x', 'f32', ['n', 3]), value('flag', 'bool', [])],
      node: [
        call('Choose', ['x', 'flag'], ['a'], [intAttribute('over', 0)]),
        call('Choose', ['a', 'flag'], ['y'], [intAttribute('over', 1)]),
      ],
    });
    for (const flag of [true, false]) await expectInlined(bytes, null, { x, flag: boolOf(flag) });
  });
  test('a call inside the body of an If', async () => {
    const branch = (name: string, f: string): AttributeProto =>
      graphAttribute(`${name}_branch`, {
        name,
        node: [call(f, ['x'], [`${name}_v`]), node('Neg', [`${name}_v`], [`${name}_y`])],
        output: [value(`${name}_y`, 'f32', ['n', 3])],
      });
    const bytes = withFunctions([add, twice], {
      input: [value('x', 'f32', ['n', 3]), value('flag', 'bool', [])],
      node: [node('If', ['flag'], ['y'], { attribute: [branch('then', 'AddOne'), branch('else', 'AddTwo')] })],
    });
    for (const flag of [true, false]) await expectInlined(bytes, null, { x, flag: boolOf(flag) });
  });
  test('a result that is an operand, one that is given twice, and one that nobody wants', async () => {
    const pass = made('Pass', [node('Neg', ['x'], ['n'])], { output: ['x', 'n'] });
    // ONNX Runtime loads no such function itself.
    const [same, negative] = [
      [1, -2, 3.5, -4, 0.25, 6],
      [-1, 2, -3.5, 4, -0.25, -6],
    ];
    await expectInlined(withFunctions([pass], { node: [call('Pass', ['x'], ['y'])] }), { y: same });
    await expectInlined(withFunctions([pass], { node: [call('Pass', ['x'], ['', 'y'])] }), { y: negative });
    const output = [value('z', 'f32', ['n', 3]), value('y', 'f32', ['n', 3])];
    await expectInlined(withFunctions([pass], { node: [call('Pass', ['x'], ['y', 'z'])], output }), { z: negative, y: same });
  });
  test('names inside that the model uses too', async () => {
    const bytes = withFunctions([add], {
      initializer: [f32('one', [], [10]), f32('AddOne_a/one', [], [100])],
      node: [call('AddOne', ['x'], ['a']), node('Add', ['a', 'one'], ['b']), node('Add', ['b', 'AddOne_a/one'], ['y'])],
    });
    await expectInlined(bytes, { y: [1, -2, 3.5, -4, 0.25, 6].map((v) => v + 111) });
  });
  test('a function of an older operator set, in which an operator had another form', async () => {
    // Before version 13, the axes of Unsqueeze and ReduceSum were attributes.
    const axes = { name: 'axes', type: attributeTypes.ints, ints: [int64(1)] };
    const old = made(
      'Old',
      [
        node('ReduceSum', ['x'], ['sum'], { attribute: [axes, intAttribute('keepdims', 0)] }),
        node('Unsqueeze', ['sum'], ['column'], { attribute: [axes] }),
        node('Add', ['x', 'column'], ['y']),
      ],
      { opsetImport: opset(11) },
    );
    const bytes = withFunctions([old], { node: [call('Old', ['x'], ['y'])] });
    await expectInlined(bytes, { y: [3.5, 0.5, 6, -1.75, 2.5, 8.25] });
  });
  test('functions of one name, told apart by their overload', async () => {
    const other = { ...made('AddOne', [node('Neg', ['x'], ['y'])]), overload: 'not really' };
    const bytes = withFunctions([add, other], {
      node: [node('AddOne', ['x'], ['a'], { domain: 'local', overload: 'not really' }), call('AddOne', ['a'], ['y'])],
    });
    await expectInlined(bytes, { y: [0, 3, -2.5, 5, 0.75, -5] });
  });
});

describe('functions that call themselves are QC4105', () => {
  const read = (functions: readonly FunctionProto[]) => (): unknown =>
    readModelBytes(withFunctions(functions, { node: [call('F', ['x'], ['y'])] }), undefined, { purpose: 'compile' });
  test('directly', () => expect(codeOf(read([made('F', [call('F', ['x'], ['y'])])]))).toBe('QC4105'));
  test('through another', () =>
    expect(codeOf(read([made('F', [call('G', ['x'], ['y'])]), made('G', [call('F', ['x'], ['y'])])]))).toBe('QC4105'));
  test('twice at each step, without growing beyond memory', () => {
    const doubling = made('F', [call('F', ['x'], ['a']), call('F', ['a'], ['y'])]);
    expect(codeOf(read([doubling]))).toBe('QC4105');
  });
});

test('read to be kept, functions and calls stay as they are', () => {
  const bytes = withFunctions([add, twice], { node: [call('AddTwo', ['x'], ['y'])] });
  const graph = readModelBytes(bytes);
  expect([...graph.nodes].map((n) => n.op)).toEqual(['local.AddTwo']);
  expect(decodeModel(encodeGraph(graph)).functions?.map((f) => f.name)).toEqual(['AddOne', 'AddTwo']);
  expect(Buffer.compare(encodeGraph(graph), encodeGraph(readModelBytes(encodeGraph(graph))))).toBe(0);
});

describe('inputs that have a default', () => {
  const bytes = model({
    input: [value('x', 'f32', ['n', 3]), value('w', 'f32', [3, 3]), value('k', 'f32', [])],
    initializer: [f32('w', [3, 3], [1, 0, 0, 0, 2, 0, 0, 0, 3]), f32('k', [], [2])],
    node: [node('MatMul', ['x', 'w'], ['p']), node('Mul', ['p', 'k'], ['y'])],
    output: [value('y', 'f32', ['n', 3])],
  });
  test('are constants for a compile', async () => {
    const graph = readModelBytes(bytes, undefined, { purpose: 'compile' });
    verify(graph);
    expect([graph.inputs.map((v) => v.name), [...graph.constants].map((v) => v.name).sort()]).toEqual([['x'], ['k', 'w']]);
    const encoded = encodeGraph(graph);
    expect(decodeModel(encoded).graph!.input!.map((v) => v.name)).toEqual(['x']);
    expect(await run(encoded, { x })).toEqual(await run(bytes, { x }));
  });
  test('stay inputs when the model is read to be kept, and so do their defaults', async () => {
    const graph = readModelBytes(bytes);
    expect(graph.inputs.map((v) => v.name)).toEqual(['x', 'w', 'k']);
    const kept = encodeGraph(graph);
    expect(await run(kept, { x })).toEqual(await run(bytes, { x }));
    const { input, initializer } = decodeModel(kept).graph!;
    expect([input!.map((v) => v.name), initializer!.map((t) => t.name)]).toEqual([
      ['x', 'w', 'k'],
      ['w', 'k'],
    ]);
  });
});
