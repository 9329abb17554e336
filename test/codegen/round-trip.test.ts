import { describe, expect, test } from '@jest/globals';
import onnxProto from 'onnx-proto';
import { encodeGraph, readModelBytes } from '../../codegen/onnx/index.ts';
import { decodeModel, encodeModel, int64, toBigInt, toNumber, type GraphProto, type ModelProto } from '../../codegen/onnx/proto.ts';
import { attributeTypes as kinds, onnxSchema, type MessageDescriptor } from '../../codegen/onnx/schema.ts';
import { Graph, Node } from '../../ir/graph.ts';
import { dense, inMemory } from '../../ir/tensor.ts';
import { dtypes, bytesFor, tensorType } from '../../ir/types.ts';
import { codeOf, f32, graphAttribute, intAttribute, localFunction, model, node, number, raw, tensorAttribute, value } from './models.ts';

// Field 900, varint: no message of ONNX has it.
const unknown = (n: number): readonly Uint8Array[] => [Uint8Array.of(0xa0, 0x38, n)];
const exported = (bytes: Uint8Array): Uint8Array => encodeGraph(readModelBytes(bytes));
const again = (bytes: Uint8Array): ModelProto => decodeModel(exported(bytes));
const x = value('x', 'f32', [4]);
const y = value('y', 'f32', [4]);

test('an attribute of a kind whose value is not there has the value of nothing', () => {
  const attribute = [kinds.string, kinds.strings, kinds.int, kinds.float, kinds.ints].map((type) => ({ name: `a${type}`, type }));
  const bytes = model({ node: [node('Custom', ['x'], ['y'], { attribute })], input: [x], output: [y] });
  const [read] = [...readModelBytes(bytes).nodes];
  expect(attribute.map(({ name }) => read!.attributes.get(name))).toMatchObject(['', [], 0n, 0, []].map((value) => ({ value })));
  expect(Buffer.compare(exported(exported(bytes)), exported(bytes))).toBe(0);
});

describe('what the IR has no words for is written back', () => {
  const bytes = model(
    {
      docString: 'a graph',
      metadataProps: [{ key: 'gk', value: 'gv' }],
      $unknowns: unknown(2),
      input: [
        { ...x, docString: 'an input', $unknowns: unknown(3) },
        { name: 'q', type: { sequenceType: { elemType: x.type! } } },
      ],
      output: [{ ...y, metadataProps: [{ key: 'o', value: 'p' }] }],
      valueInfo: [{ ...value('h', 'f32', ['n']), docString: 'between' }, value('nowhere', 'f32', [1])],
      initializer: [
        { ...f32('w', [4], [1, 2, 3, 4]), docString: 'a weight', metadataProps: [{ key: 'a', value: 'b' }], $unknowns: unknown(4) },
      ],
      quantizationAnnotation: [{ tensorName: 'w', quantParameterTensorNames: [{ key: 'SCALE_TENSOR', value: 's' }] }],
      node: [
        node('Add', ['x', 'w'], ['h'], {
          docString: 'a node',
          overload: 'o',
          metadataProps: [{ key: 'n', value: 'm' }],
          $unknowns: unknown(5),
          deviceConfigurations: [
            {
              configurationId: 'c',
              pipelineStage: 2,
              shardingSpec: [
                { tensorName: 'h', device: [1], shardedDim: [{ axis: 0, simpleSharding: [{ dimParam: 'k', numShards: 2 }] }] },
              ],
            },
          ],
        }),
        node('Custom.Op', ['h'], ['y'], {
          domain: 'my.ops',
          attribute: [
            { name: 'bytes', type: kinds.string, s: Uint8Array.of(0xff, 0xfe) },
            { name: 'tp', type: kinds.typeProto, tp: x.type! },
            { ...intAttribute('i', -5), docString: 'an attribute', $unknowns: unknown(6) },
            { name: 'many', type: kinds.tensors, tensors: [f32('', [1], [1])] },
            { ...tensorAttribute('t', { ...f32('named', [1], [2]), docString: 'inside' }) },
            { name: 'fs', type: kinds.floats, floats: [0.1, -0] },
            { name: 'ss', type: kinds.strings, strings: [Buffer.from('é')] },
          ],
        }),
      ],
    },
    {
      producerName: 'tester',
      producerVersion: '1.2',
      domain: 'd',
      modelVersion: int64(-3),
      docString: 'a model',
      $unknowns: unknown(1),
      opsetImport: [
        { domain: 'my.ops', version: 4 },
        { domain: '', version: 21 },
      ],
      metadataProps: [{ key: 'k', value: 'v' }],
      functions: [localFunction('F', [node('Neg', ['x'], ['y'])], { attributeProto: [intAttribute('a', 1)] })],
      trainingInfo: [{ algorithm: { name: 'train' }, updateBinding: [{ key: 'w', value: 'w2' }] }],
      configuration: [{ name: 'c', numDevices: 2, device: ['a', 'b'] }],
    },
  );
  const before = decodeModel(bytes);
  const after = again(bytes);
  const plain = (message: unknown): unknown => JSON.parse(JSON.stringify(message));

  test('all of the model but the order of operator sets', () => {
    const { opsetImport: _, ...rest } = before;
    const { opsetImport, ...found } = after;
    expect(plain(found)).toEqual(plain(rest));
    expect(opsetImport?.map((o) => [o.domain, toNumber(o.version)])).toEqual([
      ['', 21],
      ['my.ops', 4],
    ]);
  });
  test('unknown fields of the model, the graph, inputs, nodes, attributes and tensors', () => {
    const found = [
      after,
      after.graph!,
      after.graph!.input![0]!,
      after.graph!.initializer![0]!,
      after.graph!.node![0]!,
      after.graph!.node![1]!.attribute![2]!,
    ];
    expect(found.map((m) => m.$unknowns?.map((u) => u[2]))).toEqual([[1], [2], [3], [4], [5], [6]]);
  });
  test('a second trip gives the same bytes', () => {
    const once = exported(bytes);
    expect(Buffer.compare(exported(once), once)).toBe(0);
  });
  test('the operator with a dot in its name is not torn apart', () => {
    expect([...readModelBytes(bytes).nodes].map((n) => n.op)).toEqual(['Add', 'my.ops.Custom.Op']);
    expect(after.graph!.node![1]!.opType).toBe('Custom.Op');
  });
});

test('every message and field of the schema has its own number and a known type', () => {
  const check = (nested: Record<string, MessageDescriptor>, outer: readonly string[]): number =>
    Object.values(nested).reduce((n, m) => {
      const ids = Object.values(m.fields).map((f) => f.id);
      expect(new Set(ids).size).toBe(ids.length);
      const known = [...outer, ...Object.keys(m.nested ?? {})];
      for (const f of Object.values(m.fields))
        expect(/^(int32|int64|uint64|float|double|string|bytes)$/.test(f.type) || known.includes(f.type)).toBe(true);
      return n + 1 + check(m.nested ?? {}, known);
    }, 0);
  expect(check(onnxSchema.nested, Object.keys(onnxSchema.nested))).toBe(28);
});

describe('constants', () => {
  const storable = dtypes.filter((d) => number(d) > 0 && d !== 'string');
  test.each(storable)('%s keeps its bits', (dtype) => {
    const data = Uint8Array.from({ length: bytesFor(dtype, 6) }, (_, i) => i * 37 + 11);
    const bytes = model({ initializer: [raw('w', dtype, [2, 3], data)], output: [value('w', dtype, [2, 3])] });
    const [constant] = readModelBytes(bytes).constants;
    expect([constant!.type, [...constant!.constant!.bytes()]]).toEqual([tensorType(dtype, [2, 3]), [...data]]);
    expect([...again(bytes).graph!.initializer![0]!.rawData!]).toEqual([...data]);
  });
  test('narrow elements are bit patterns in int32_data', () => {
    const typed = (name: string, dtype: Parameters<typeof number>[0], dims: number[], int32Data: number[]) => ({
      name,
      dataType: number(dtype),
      dims,
      int32Data,
    });
    const graph = readModelBytes(
      model({
        initializer: [
          typed('a', 'f16', [2], [0x3c00, 0xbc00]),
          typed('b', 'bf16', [1], [0x3f80]),
          typed('c', 'i4', [3], [0x21, 0x0f]),
          typed('d', 'u2', [5], [0xe4, 1]),
          typed('e', 'f8e4m3fn', [2], [0x38, 0xb8]),
          typed('f', 'i16', [1], [-2]),
          typed('g', 'u8', [1], [200]),
        ],
      }),
    );
    expect([...graph.constants].map((v) => Buffer.from(v.constant!.bytes()).toString('hex'))).toEqual([
      '003c00bc',
      '803f',
      '210f',
      'e401',
      '38b8',
      'feff',
      'c8',
    ]);
  });
  test('i3 and u3 cannot be written', () => {
    const graph = new Graph('g');
    graph.addConstant('w', inMemory('u3', [8], new Uint8Array(3)));
    expect(codeOf(() => encodeGraph(graph))).toBe('QC4001');
  });
  test('int64 attributes are exact', () => {
    const big = -(2n ** 62n) - 1n;
    const bytes = model({ output: [y], node: [node('Op', [], ['y'], { attribute: [{ name: 'i', type: kinds.int, i: int64(big) }] })] });
    expect(toBigInt(again(bytes).graph!.node![0]!.attribute![0]!.i!)).toBe(big);
  });
});

describe('what a graph is', () => {
  const fails: readonly (readonly [string, string, GraphProto])[] = [
    ['a name that nothing defines', 'QC4105', { node: [node('Neg', ['a'], ['y'])] }],
    ['an output that nothing defines', 'QC4105', { output: [y] }],
    ['two results of one name', 'QC4105', { input: [x], node: [node('Neg', ['x'], ['y']), node('Abs', ['x'], ['y'])] }],
    ['two constants of one name', 'QC4105', { initializer: [f32('w', [], [1]), f32('w', [], [1])] }],
    ['a cycle', 'QC4105', { node: [node('Neg', ['b'], ['a']), node('Neg', ['a'], ['b'])] }],
    [
      'a branch that needs its own result',
      'QC4105',
      {
        input: [value('c', 'bool', [])],
        node: [node('If', ['c'], ['y'], { attribute: [graphAttribute('then_branch', { output: [y] })] })],
      },
    ],
    ['an attribute given twice', 'QC4105', { node: [node('Op', [], ['y'], { attribute: [intAttribute('a', 1), intAttribute('a', 2)] })] }],
    ['a negative extent', 'QC4106', { initializer: [f32('w', [-1], [1])] }],
    ['no data', 'QC4106', { initializer: [{ name: 'w', dataType: 1, dims: [2] }] }],
    ['an unknown element type', 'QC4106', { initializer: [{ name: 'w', dataType: 77, dims: [0] }] }],
    ['data in the wrong field', 'QC4106', { initializer: [{ name: 'w', dataType: 1, dims: [1], int32Data: [1] }] }],
    ['data in two fields', 'QC4106', { initializer: [{ ...f32('w', [1], [1]), floatData: [1] }] }],
    ['too little data', 'QC1601', { initializer: [f32('w', [3], [1])] }],
    [
      'too many strings',
      'QC1601',
      { initializer: [{ name: 'w', dataType: 8, dims: [1], stringData: [Buffer.from('a'), Buffer.from('b')] }] },
    ],
    ['more elements than can be', 'QC4106', { initializer: [{ name: 'w', dataType: 1, dims: [0, int64(2n ** 62n), int64(2n ** 62n)] }] }],
  ];
  test.each(fails)('%s is %s', (_, code, graph) => expect(codeOf(() => readModelBytes(model(graph)))).toBe(code));

  test('an initializer that is an input is a constant before IR version 4, a default after it', () => {
    const graph: GraphProto = {
      input: [x, value('w', 'f32', [1])],
      output: [y],
      initializer: [f32('w', [1], [3])],
      node: [node('Add', ['x', 'w'], ['y'])],
    };
    const old = readModelBytes(model(graph, { irVersion: 3 }));
    const now = readModelBytes(model(graph, { irVersion: 8 }));
    expect([old.inputs.length, old.constants.size, now.inputs.length, now.constants.size]).toEqual([1, 1, 2, 0]);
    const written = decodeModel(encodeGraph(now)).graph!;
    expect([written.input!.map((i) => i.name), written.initializer!.map((t) => t.name)]).toEqual([['x', 'w'], ['w']]);
  });
  test('an If body knows the graph around it and uses its values', () => {
    const graph = readModelBytes(
      model({
        input: [x, value('c', 'bool', [])],
        output: [y],
        node: [
          node('If', ['c'], ['y'], {
            attribute: [graphAttribute('then_branch', { output: [value('r', 'f32', [4])], node: [node('Neg', ['x'], ['r'])] })],
          }),
        ],
      }),
    );
    const [body] = [...graph.nodes][0]!.bodies;
    expect([body!.parent === graph, [...body!.nodes][0]!.input(0) === graph.inputs[0], graph.inputs[0]!.uses.size]).toEqual([
      true,
      true,
      1,
    ]);
  });
  test('types have known, named and unknown extents', () => {
    const graph = readModelBytes(
      model({ input: [value('a', 'i64', [2, 'n', null])], output: [{ name: 'y' }], node: [node('Op', ['a'], ['y'])], valueInfo: [] }),
    );
    expect([graph.inputs[0]!.type, graph.outputs[0]!.type]).toEqual([tensorType('i64', [2, 'n', null]), null]);
  });
  test('IR versions and operator sets are the least that the contents need', () => {
    const versions = (bytes: Uint8Array): unknown[] => {
      const m = decodeModel(bytes);
      return [toNumber(m.irVersion), ...(m.opsetImport ?? []).map((o) => `${o.domain}:${toNumber(o.version)}`)];
    };
    const plain = (irVersion: number, opset: number): Uint8Array =>
      model({}, { irVersion, opsetImport: [{ domain: 'ai.onnx', version: opset }] });
    expect([3, 8, 11, 14].map((ir) => versions(exported(plain(ir, 17)))[0])).toEqual([4, 8, 11, 13]);
    expect(versions(exported(plain(8, 21)))).toEqual([10, ':21']);
    const graph = new Graph('g');
    const input = graph.addInput('x', tensorType('f32', [2]));
    const site = graph.append(new Node({ op: 'qc.Site', inputs: [input], results: [{ name: 's', type: null }] }));
    graph.addOutput(
      graph.append(new Node({ op: 'com.microsoft.Gelu', inputs: [site.output], results: [{ name: 'y', type: null }] })).output,
    );
    expect(versions(encodeGraph(graph))).toEqual([10, ':23', 'com.microsoft:1', 'qc:1']);
  });
  test('a model without a graph is not a model', () => {
    expect(codeOf(() => readModelBytes(encodeModel({ producerName: 'p' })))).toBe('QC4101');
    expect(codeOf(() => readModelBytes(new Uint8Array(0)))).toBe('QC4101');
  });
});

test('an independent reader finds what we wrote', () => {
  const graph = new Graph('g');
  const input = graph.addInput('x', tensorType('f32', ['n', 2]));
  const w = graph.addConstant('w', dense([2, 2], [1, 2, 3, 4]));
  graph.addOutput(
    graph.append(
      new Node({
        op: 'Gemm',
        name: 'gemm',
        inputs: [input, w],
        results: [{ name: 'y', type: tensorType('f32', ['n', 2]) }],
        attributes: { transB: { kind: 'int', value: 1n }, alpha: { kind: 'float', value: 0.5 } },
      }),
    ).output,
  );
  graph.metadata.set('k', 'v');
  const read = onnxProto.onnx.ModelProto.decode(encodeGraph(graph));
  const [gemm] = read.graph!.node!;
  expect([gemm!.opType, gemm!.input, gemm!.output, gemm!.attribute!.map((a) => a.name)]).toEqual([
    'Gemm',
    ['x', 'w'],
    ['y'],
    ['transB', 'alpha'],
  ]);
  expect(Array.from(new Float32Array(Uint8Array.from(read.graph!.initializer![0]!.rawData!).buffer))).toEqual([1, 2, 3, 4]);
  expect(read.graph!.input![0]!.type!.tensorType!.shape!.dim!.map((d) => d.dimParam || Number(d.dimValue))).toEqual(['n', 2]);
  expect([read.metadataProps!.map((e) => e.key), read.opsetImport!.map((o) => Number(o.version))]).toEqual([['k'], [23]]);
});
