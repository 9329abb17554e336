import { int, ints, tensor, type Attribute } from '../../ir/attributes.ts';
import { fail } from '../../ir/diagnostics.ts';
import type { Graph, Node } from '../../ir/graph.ts';
import { CacheBasis, Decode, Encode } from '../../ir/ops/qc.ts';
import { eachNode } from '../../ir/walk.ts';
import { inMemory } from '../../ir/tensor.ts';
import { isKernel, kernelBody, kernelOverload } from '../kernels/bodies/index.ts';
import { kernelNamed, nameOfCall } from '../kernels/names.ts';
import { attributeProto, functionProto, type Body } from './body-writer.ts';
import type { FunctionProto, NodeProto } from './proto-types.ts';
import { attributeTypes as kinds } from './schema.ts';

/** The domain of our operators. */
export const qcDomain = 'qc';

/** How a node names the body that it calls. */
export interface CallName {
  readonly opType: string;
  readonly overload: string;
}

/** The standard bodies of the `qc` operators of a graph, so that the model runs without our library, and how nodes call them. */
export interface LocalFunctions {
  readonly functions: readonly FunctionProto[];
  nameOf(node: Node): CallName;
}

/**
 * ONNX has overloads for bodies of one operator that differ, but ONNX Runtime before 1.27 knows one body for a name. So calls with other
 * bodies have other names, which the library knows too (`names` in kernels/operators.json), and overloads only beyond those.
 */
export function functionsFor(graph: Graph): LocalFunctions {
  const version = graph.opsets.get('') ?? bodyOpset;
  const used = new Map<string, Called>();
  collect(graph, used);
  const names = new Map<string, CallName>();
  const counts = new Map<string, number>();
  const functions = [...used.keys()].toSorted().map((key) => {
    const { name, overload, body, attributes } = used.get(key)!;
    const index = counts.get(name) ?? 0;
    counts.set(name, index + 1);
    const own = nameOfCall(name, index);
    const call: CallName = own === null ? { opType: name, overload } : { opType: own, overload: '' };
    names.set(key, call);
    return functionProto(
      { domain: qcDomain, name: call.opType, ...(call.overload === '' ? {} : { overload: call.overload }) },
      body(),
      attributes,
      version,
    );
  });
  return { functions, nameOf: (node) => names.get(keyOf(node)) ?? { opType: '', overload: '' } };
}

/** Whether we write a body for this operator of the `qc` domain. */
export const hasBody = (opType: string): boolean => Object.hasOwn(bodies, opType) || isKernel(`${qcDomain}.${kernelNamed(opType)}`);

/** Which of the bodies of its operator a node calls; most operators have one. */
const overloadOf = (node: Node): string => (isKernel(node.op) ? kernelOverload(node) : '');

const nameIn = (node: Node): string => (node.op.startsWith(`${qcDomain}.`) ? node.op.slice(qcDomain.length + 1) : '');
const keyOf = (node: Node): string => `${nameIn(node)}:${hasBody(nameIn(node)) ? overloadOf(node) : ''}`;

/** The operator set that bodies need when the model imports none. */
export const bodyOpset = 21;

/** Operators whose attributes hold a map of channels. */
const channelMaps: ReadonlySet<string> = new Set([Encode, Decode, CacheBasis].map(({ schema }) => schema.op));

/** The attributes as written: those that a body reads and the node leaves out are filled in with what they mean. */
export function completeAttributes(node: Node): ReadonlyMap<string, Attribute> {
  if (node.op === 'qc.DynamicQuantize') return new Map([['symmetric', int(0)], ['block', int(0)], ...node.attributes]);
  if (!channelMaps.has(node.op)) return node.attributes;
  if (['perm', 'scale', 'shift'].every((name) => node.attributes.has(name))) return node.attributes;
  const n = channelsOf(node);
  const identity: readonly (readonly [string, Attribute])[] = [
    ['perm', ints(Array(n).keys())],
    ['scale', tensor(inMemory('f64', [n], new Float64Array(n).fill(1)))],
    ['shift', tensor(inMemory('f64', [n], new Float64Array(n)))],
  ];
  const complete = new Map(node.attributes);
  for (const [name, value] of identity) if (!complete.has(name)) complete.set(name, value);
  return complete;
}

function channelsOf(node: Node): number {
  const perm = node.attributes.get('perm');
  if (perm?.kind === 'ints') return perm.value.length;
  const size = node.attributes.get('size');
  if (size?.kind === 'int') return Number(size.value);
  for (const name of ['scale', 'shift']) {
    const given = node.attributes.get(name);
    if (given?.kind === 'tensor') return given.value.shape[0] ?? 1;
  }
  for (const value of [node.input(0), node.outputs[0]]) {
    const last = value?.type?.shape?.at(-1);
    if (typeof last === 'number') return last;
  }
  return fail('QC4001', `${node.op} has neither attributes nor a type that tell its number of channels`, node.loc);
}

const identity: Body = { inputs: ['x'], outputs: ['y'], attributes: [], nodes: [step('y', 'Identity', ['x'])] };

// y = x[..., perm] * scale + shift
const mapped = (x: string, y: string): readonly NodeProto[] => [
  reference('order', 'value_ints', kinds.ints, 'perm'),
  reference('wide_scale', 'value', kinds.tensor, 'scale'),
  reference('wide_shift', 'value', kinds.tensor, 'shift'),
  step('moved', 'Gather', [x, 'order'], { axis: int(-1) }),
  step('scale', 'CastLike', ['wide_scale', 'x']),
  step('shift', 'CastLike', ['wide_shift', 'x']),
  step('scaled', 'Mul', ['moved', 'scale']),
  step(y, 'Add', ['scaled', 'shift']),
];

const channelMap: Body = { inputs: ['x'], outputs: ['y'], attributes: ['perm', 'scale', 'shift'], nodes: mapped('x', 'y') };

// The same on [batch, seq, heads * width], where x is [batch, heads, seq, width]. A 0 in a shape is the extent that was there, which may be 0.
const cacheMap: Body = {
  inputs: ['x'],
  outputs: ['y'],
  attributes: ['size', 'perm', 'scale', 'shift'],
  nodes: [
    step('turned', 'Transpose', ['x'], { perm: ints([0, 2, 1, 3]) }),
    step('apart', 'Shape', ['turned']),
    step('kept', 'Constant', [], { value_ints: ints([0, 0]) }),
    reference('channels', 'value_int', kinds.int, 'size'),
    step('one', 'Constant', [], { value_ints: ints([1]) }),
    step('last', 'Reshape', ['channels', 'one']),
    step('joined', 'Concat', ['kept', 'last'], { axis: int(0) }),
    step('tokens', 'Reshape', ['turned', 'joined']),
    ...mapped('tokens', 'moved_tokens'),
    step('heads', 'Reshape', ['moved_tokens', 'apart']),
    step('y', 'Transpose', ['heads'], { perm: ints([0, 2, 1, 3]) }),
  ],
};

// s = scale[index], z = zero[index]; y = (clip(round(x / s) + z, qmin, qmax) - z) * s
const fakeQuantize: Body = {
  inputs: ['x', 'scale', 'zero', 'index'],
  outputs: ['y'],
  attributes: ['qmin', 'qmax'],
  nodes: [
    reference('wide_low', 'value_int', kinds.int, 'qmin'),
    reference('wide_high', 'value_int', kinds.int, 'qmax'),
    step('low', 'CastLike', ['wide_low', 'x']),
    step('high', 'CastLike', ['wide_high', 'x']),
    step('s_stored', 'Gather', ['scale', 'index'], { axis: int(0) }),
    step('z_stored', 'Gather', ['zero', 'index'], { axis: int(0) }),
    step('s', 'CastLike', ['s_stored', 'x']),
    step('z', 'CastLike', ['z_stored', 'x']),
    step('steps', 'Div', ['x', 's']),
    step('whole', 'Round', ['steps']),
    step('placed', 'Add', ['whole', 'z']),
    step('q', 'Clip', ['placed', 'low', 'high']),
    step('centred', 'Sub', ['q', 'z']),
    step('y', 'Mul', ['centred', 's']),
  ],
};

// Rows of `block` channels (0: all of them): low = min(x, 0), high = max(x, 0), or -a and a with a = max |x| when symmetric;
// s = (high - low) / (qmax - qmin), z = clip(qmin - round(low / s)); y = (clip(round(x / s) + z, qmin, qmax) - z) * s
const dynamicQuantize: Body = {
  inputs: ['x'],
  outputs: ['y'],
  attributes: ['qmin', 'qmax', 'symmetric', 'block'],
  nodes: [
    reference('wide_least', 'value_int', kinds.int, 'qmin'),
    reference('wide_most', 'value_int', kinds.int, 'qmax'),
    reference('symmetric', 'value_int', kinds.int, 'symmetric'),
    reference('block', 'value_int', kinds.int, 'block'),
    step('none', 'Constant', [], { value_int: int(0) }),
    step('open', 'Constant', [], { value_ints: ints([-1]) }),
    step('shape', 'Shape', ['x']),
    step('channels', 'Shape', ['x'], { start: int(-1) }),
    step('is_whole', 'Equal', ['block', 'none']),
    step('width', 'Where', ['is_whole', 'channels', 'block']),
    step('row_shape', 'Concat', ['open', 'width'], { axis: int(0) }),
    step('rows', 'Reshape', ['x', 'row_shape']),
    step('least', 'CastLike', ['wide_least', 'x']),
    step('most', 'CastLike', ['wide_most', 'x']),
    step('nought', 'CastLike', ['none', 'x']),
    step('is_free', 'Equal', ['symmetric', 'none']),
    step('is_symmetric', 'Not', ['is_free']),
    step('row_min', 'ReduceMin', ['rows', 'open']),
    step('row_max', 'ReduceMax', ['rows', 'open']),
    step('bare_low', 'Min', ['row_min', 'nought']),
    step('bare_high', 'Max', ['row_max', 'nought']),
    step('mirrored_low', 'Neg', ['bare_low']),
    step('amplitude', 'Max', ['bare_high', 'mirrored_low']),
    step('mirrored', 'Neg', ['amplitude']),
    step('low', 'Where', ['is_symmetric', 'mirrored', 'bare_low']),
    step('high', 'Where', ['is_symmetric', 'amplitude', 'bare_high']),
    step('extent', 'Sub', ['high', 'low']),
    step('steps', 'Sub', ['most', 'least']),
    step('bare_scale', 'Div', ['extent', 'steps']),
    step('is_flat', 'Equal', ['bare_scale', 'nought']),
    step('one', 'Constant', [], { value_int: int(1) }),
    step('unit', 'CastLike', ['one', 'x']),
    step('scale', 'Where', ['is_flat', 'unit', 'bare_scale']),
    step('low_steps', 'Div', ['low', 'scale']),
    step('low_code', 'Round', ['low_steps']),
    step('bare_zero', 'Sub', ['least', 'low_code']),
    step('zero', 'Clip', ['bare_zero', 'least', 'most']),
    step('ratio', 'Div', ['rows', 'scale']),
    step('whole', 'Round', ['ratio']),
    step('placed', 'Add', ['whole', 'zero']),
    step('q', 'Clip', ['placed', 'least', 'most']),
    step('centred', 'Sub', ['q', 'zero']),
    step('quantized', 'Mul', ['centred', 'scale']),
    step('y', 'Reshape', ['quantized', 'shape']),
  ],
};

const bodies: Readonly<Record<string, Body>> = {
  Site: identity,
  Observer: identity,
  Encode: channelMap,
  Decode: channelMap,
  CacheBasis: cacheMap,
  FakeQuantize: fakeQuantize,
  DynamicQuantize: dynamicQuantize,
};

interface Called {
  readonly name: string;
  readonly overload: string;
  readonly body: () => Body;
  /** ONNX wants a function to declare every attribute that its calls may have. */
  readonly attributes: Set<string>;
}

function collect(graph: Graph, into: Map<string, Called>): void {
  for (const node of eachNode(graph)) {
    const name = nameIn(node);
    if (!hasBody(name)) continue;
    const overload = overloadOf(node);
    const key = keyOf(node);
    const body = (): Body => (isKernel(node.op) ? kernelBody(node) : bodies[name]!);
    const called = into.get(key) ?? { name, overload, body, attributes: new Set() };
    for (const attribute of node.attributes.keys()) called.attributes.add(attribute);
    into.set(key, called);
  }
}

function step(result: string, opType: string, input: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}): NodeProto {
  const attribute = Object.entries(attributes).map(([name, value]) => attributeProto(name, value));
  return { opType, input, output: [result], ...(attribute.length > 0 ? { attribute } : {}) };
}

/** A constant that takes its value from an attribute of the call. */
function reference(result: string, name: string, type: number, refAttrName: string): NodeProto {
  return { opType: 'Constant', output: [result], attribute: [{ name, type, refAttrName }] };
}
