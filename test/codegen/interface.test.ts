import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto } from '../../codegen/onnx/proto.ts';
import { scratch } from '../data/arrays.ts';
import { compileBytes, interfaceOf, mlpConstants, mlpNodes, protoIn, quantizedIn, sampleOf, samplesFile } from '../support/compiled.ts';
import { cosine } from '../support/run.ts';
import {
  boolOf,
  f32,
  floatsOf,
  graphAttribute,
  i64,
  intAttribute,
  model,
  node,
  run,
  tensorAttribute,
  value,
  type Feeds,
} from './models.ts';

const folder = scratch();
afterAll(() => folder.remove());

interface Variant {
  readonly nodes?: readonly NodeProto[];
  readonly constants?: readonly TensorProto[];
  readonly input?: ValueInfoProto;
  readonly inputs?: readonly ValueInfoProto[];
  readonly outputs: readonly ValueInfoProto[];
}

const wide = (name: string) => value(name, 'f32', ['batch', 'seq', 16]);
const castTo = (to: number): Partial<NodeProto> => ({ attribute: [intAttribute('to', to)] });

const branch = (name: string, nodes: readonly NodeProto[], output: ValueInfoProto): AttributeProto =>
  graphAttribute(name, { name, node: nodes, output: [output] });
const ifOf = (result: string, then: AttributeProto, other: AttributeProto): NodeProto =>
  node('If', ['flag'], [result], { attribute: [then, other] });
const plain = (name: string): NodeProto => node('Identity', ['y'], [name]);

const variants: Readonly<Record<string, Variant>> = {
  'outputs that are an input, constants and Identities of one value': {
    nodes: [
      plain('first'),
      plain('second'),
      node('Identity', ['x'], ['echo']),
      node('Constant', [], ['version'], { attribute: [tensorAttribute('value', i64('', [1], [7]))] }),
      node('Identity', ['version'], ['again']),
    ],
    constants: [f32('table', [2, 2], [1, 2, 3, 4])],
    outputs: [
      wide('echo'),
      value('again', 'i64', [1]),
      wide('second'),
      value('table', 'f32', [2, 2]),
      wide('first'),
      value('w1', 'f32', [16, 32]),
      value('version', 'i64', [1]),
    ],
  },
  'outputs that are Identities and Casts of an output, before and behind it': {
    nodes: [
      plain('last'),
      plain('a'),
      node('Identity', ['a'], ['c']),
      node('Identity', ['c'], ['d']),
      node('Cast', ['y'], ['same'], castTo(1)),
    ],
    outputs: [wide('d'), wide('last'), wide('y'), wide('same'), wide('a')],
  },
  'outputs inside that passes change, and outputs of other types': {
    nodes: [
      node('Cast', ['y'], ['whole'], castTo(6)),
      node('Greater', ['y', 'zero'], ['positive']),
      node('Shape', ['y'], ['extents']),
      node('Cast', ['y'], ['double'], castTo(11)),
    ],
    constants: [f32('zero', [], [0])],
    outputs: [
      wide('h'),
      value('p', 'f32', ['batch', 'seq', 32]),
      value('positive', 'bool', ['batch', 'seq', 16]),
      value('r', 'f32', ['batch', 'seq', 32]),
      value('whole', 'i32', ['batch', 'seq', 16]),
      value('extents', 'i64', [3]),
      wide('y'),
      value('double', 'f64', ['batch', 'seq', 16]),
    ],
  },
  'unnamed extents of the input, outputs with names of their own, expressions, fewer and unnamed ones': {
    input: value('x', 'f32', [null, null, 16]),
    nodes: [plain('last'), plain('open'), node('Concat', ['y', 'y'], ['twice'], { attribute: [intAttribute('axis', 1)] })],
    outputs: [
      value('y', 'f32', ['rows_out', 'tokens out', 16]),
      value('last', 'f32', [null, null, null]),
      value('twice', 'f32', ['rows_out', '2*tokens', 16]),
      value('open', 'f32', [null, 'tokens out', 'channels']),
    ],
  },
  'fixed extents': { input: value('x', 'f32', [1, 6, 16]), outputs: [value('y', 'f32', [1, 6, 16])] },
  'results of Ifs whose branches give outer values, a constant and an input': {
    constants: [f32('fixed', [1, 6, 16], sampleOf(9))],
    inputs: [value('flag', 'bool', [])],
    nodes: [
      ifOf(
        'chosen',
        branch('then_branch', [node('Identity', ['y'], ['then_y'])], wide('then_y')),
        branch('else_branch', [node('Identity', ['h'], ['else_h'])], wide('else_h')),
      ),
      ifOf(
        'other',
        branch('then_branch', [node('Identity', ['fixed'], ['then_c'])], wide('then_c')),
        branch('else_branch', [node('Identity', ['x'], ['else_x'])], wide('else_x')),
      ),
    ],
    outputs: [wide('chosen'), wide('y'), wide('other')],
  },
};

const bytesOf = ({ nodes = [], constants = [], input = wide('x'), inputs = [], outputs }: Variant): Uint8Array => {
  const graph: GraphProto = {
    input: [...inputs, input],
    initializer: [...mlpConstants(), ...constants],
    node: [...mlpNodes(), ...nodes],
    output: outputs,
  };
  return model(graph);
};

let calibration = '';
let withFlag = '';
beforeAll(() => {
  calibration = samplesFile(folder, 'x.jsonl');
  withFlag = samplesFile(folder, 'flag.jsonl', { flag: 1 });
});

const targets = ['portable', 'ort-cpu'] as const;
const compiled = (name: string, variant: Variant, target: string) => {
  const data = { files: [variant.inputs ? withFlag : calibration] };
  return compileBytes(folder, name.replaceAll(/\W/g, '-'), bytesOf(variant), { target, data, passes: 'rptq,os+{threshold=2}' });
};

describe.each(targets)('compiled for %s: names, order, types, extents and results stay', (target) => {
  test.each(Object.entries(variants))('%s', async (name, variant) => {
    const { model: path, output, report } = await compiled(name, variant, target);
    expect(quantizedIn(report)).toBe(2);
    expect(interfaceOf(protoIn(output))).toEqual(interfaceOf(protoIn(path)));
    for (const flag of variant.inputs ? [true, false] : [null]) {
      const feeds: Feeds = { x: floatsOf(sampleOf(3), [1, 6, 16]), ...(flag === null ? {} : { flag: boolOf(flag) }) };
      const [before, after] = [await run(path, feeds), await run(output, feeds)];
      expect(Object.keys(after)).toEqual(Object.keys(before));
      for (const [key, was] of Object.entries(before)) {
        const now = after[key]!;
        expect([key, typeof now[0]]).toEqual([key, typeof was[0]]);
        expect([key, cosine(was.map(Number), now.map(Number)) > 0.97]).toEqual([key, true]);
      }
    }
  });
});

test('an output that is declared without extents gets those that are known', async () => {
  const open: ValueInfoProto = { name: 'y', type: { tensorType: { elemType: 1 } } };
  const { output } = await compiled('open', { outputs: [open] }, 'portable');
  expect(interfaceOf(protoIn(output)).outputs).toEqual(['y: 1[batch,seq,16]']);
});
