import { int, string, type Attribute, type Attributes } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import type { Node, Value } from '../../ir/graph.ts';
import { encodeFloats, floats, inMemory, int64s, type Tensor } from '../../ir/tensor.ts';
import { isFloat } from '../../ir/types.ts';

/** How nodes of an operator are respelled when its meaning or its spelling changes. @see https://onnx.ai/onnx/operators/ */
export interface Adapter {
  /** The version at which the spelling changed. */
  readonly since: number;
  /** Puts a node that means the same from then on in the place of `node`; null when there is none. */
  readonly adapt: (node: Node) => Node | null;
}

interface Spelling {
  readonly op?: string;
  readonly inputs?: readonly (Value | null)[];
  readonly attributes?: Attributes | ReadonlyMap<string, Attribute>;
}

/** Puts a node in the place of `node` that differs in what is given. */
function respell(node: Node, { op = node.op, inputs = operandsOf(node), attributes = node.attributes }: Spelling): Node {
  const graph = node.graph!;
  const made = Builder.before(node).insert({
    op,
    name: node.name,
    inputs,
    results: node.outputs.map((o) => ({ name: graph.freshName(o.name), type: o.type })),
    attributes: attributes instanceof Map ? Object.fromEntries(attributes) : (attributes as Attributes),
  });
  made.carried = node.carried;
  node.outputs.forEach((o, i) => graph.replace(o, made.outputs[i]!));
  graph.erase(node);
  return made;
}

const operandsOf = (node: Node): readonly (Value | null)[] => node.operands.map((u) => u.value);
const without = (node: Node, ...names: readonly string[]): Map<string, Attribute> =>
  new Map([...node.attributes].filter(([k]) => !names.includes(k)));
const constant = (node: Node, name: string, tensor: Tensor): Value =>
  node.graph!.addConstant(node.graph!.freshName(`${node.outputs[0]!.name}.${name}`), tensor);
const vector = (node: Node, name: string, values: readonly (number | bigint)[]): Value =>
  constant(node, name, int64s([values.length], values));

/** A number in the element type of the first operand. */
function numberLike(node: Node, name: string, value: number): Value {
  const dtype = node.input(0)?.type?.dtype ?? 'f32';
  return constant(node, name, inMemory(dtype, [], encodeFloats(isFloat(dtype) ? dtype : 'f32', Float32Array.of(value))));
}

const intsOf = (node: Node, name: string): readonly bigint[] | null => {
  const a = node.attributes.get(name);
  return a?.kind === 'ints' ? a.value : null;
};
const intOf = (node: Node, name: string, fallback: number): number => {
  const a = node.attributes.get(name);
  return a?.kind === 'int' ? Number(a.value) : fallback;
};
const floatOf = (node: Node, name: string): number | null => {
  const a = node.attributes.get(name);
  return a?.kind === 'float' ? a.value : null;
};

/** `axes` became the second operand. */
const axesToOperand = (since: number): Adapter => ({
  since,
  adapt(node) {
    const axes = intsOf(node, 'axes');
    return axes ? respell(node, { inputs: [...operandsOf(node), vector(node, 'axes', axes)], attributes: without(node, 'axes') }) : node;
  },
});

/** `split` became an operand (13), and the number of equal parts must be said (18). */
const split: Adapter = {
  since: 18,
  adapt(node) {
    const sizes = intsOf(node, 'split');
    if (sizes) return respell(node, { inputs: [node.input(0), vector(node, 'split', sizes)], attributes: without(node, 'split') });
    if (node.input(1) !== null) return node;
    return respell(node, { attributes: new Map([...node.attributes, ['num_outputs', int(node.outputs.length)]]) });
  },
};

/** Limits became operands. */
const clip: Adapter = {
  since: 11,
  adapt(node) {
    const [min, max] = [floatOf(node, 'min'), floatOf(node, 'max')];
    const limit = (name: string, x: number | null) => (x === null ? null : numberLike(node, name, x));
    return respell(node, { inputs: [node.input(0), limit('min', min), limit('max', max)], attributes: without(node, 'min', 'max') });
  },
};

/** The ratio became an operand, which matters in training alone. */
const dropout: Adapter = { since: 12, adapt: (node) => respell(node, { attributes: without(node, 'ratio') }) };

/** Pads and value became operands. */
const pad: Adapter = {
  since: 11,
  adapt(node) {
    const inputs = [
      node.input(0),
      vector(node, 'pads', intsOf(node, 'pads') ?? []),
      numberLike(node, 'value', floatOf(node, 'value') ?? 0),
    ];
    return respell(node, { inputs, attributes: without(node, 'pads', 'value') });
  },
};

/** Starts, ends and axes became operands. */
const slice: Adapter = {
  since: 10,
  adapt(node) {
    const [starts, ends, axes] = ['starts', 'ends', 'axes'].map((name) => intsOf(node, name));
    if (!starts || !ends) return null;
    const more = axes ? [vector(node, 'axes', axes)] : [];
    return respell(node, { inputs: [node.input(0), vector(node, 'starts', starts), vector(node, 'ends', ends), ...more], attributes: {} });
  },
};

/** `k` became an operand. */
const topK: Adapter = {
  since: 10,
  adapt: (node) => respell(node, { inputs: [node.input(0), vector(node, 'k', [intOf(node, 'k', 1)])], attributes: without(node, 'k') }),
};

const scatter: Adapter = { since: 11, adapt: (node) => respell(node, { op: 'ScatterElements' }) };

/** Old resizing takes the element whose place times the scale is just below; for scales below 1 runtimes differ. */
function resize(node: Node, scales: Value | null): Node | null {
  const known = scales?.constant;
  if (!known || floats(known).some((s) => s < 1)) return null;
  const how = { coordinate_transformation_mode: string('asymmetric'), nearest_mode: string('floor') };
  const attributes = { ...Object.fromEntries(without(node, 'scales')), ...how };
  return respell(node, { op: 'Resize', inputs: [node.input(0), null, scales], attributes });
}

const upsample: Adapter = {
  since: 10,
  adapt(node) {
    const scales = node.attributes.get('scales');
    const given = scales?.kind === 'floats' ? inMemory('f32', [scales.value.length], Float32Array.from(scales.value)) : null;
    return resize(node, given ? constant(node, 'scales', given) : node.input(1));
  },
};

/** `spatial` went away with its other value. */
const batchNormalization: Adapter = {
  since: 9,
  adapt: (node) => (intOf(node, 'spatial', 1) === 1 ? respell(node, { attributes: without(node, 'spatial') }) : null),
};

/** `axis` became an operand, with another default. */
const dft: Adapter = {
  since: 20,
  adapt(node) {
    const axis = constant(node, 'axis', int64s([], [intOf(node, 'axis', 1)]));
    return respell(node, { inputs: [node.input(0), node.input(1), axis], attributes: without(node, 'axis') });
  },
};

/** The modes were renamed. */
const gridSample: Adapter = {
  since: 20,
  adapt(node) {
    const mode = node.attributes.get('mode');
    const renamed = { bilinear: 'linear', bicubic: 'cubic' }[mode?.kind === 'string' ? mode.value : 'bilinear'];
    return renamed ? respell(node, { attributes: new Map([...node.attributes, ['mode', string(renamed)]]) }) : node;
  },
};

/** Boxes were not moved by half a pixel, which became the default. */
const roiAlign: Adapter = {
  since: 16,
  adapt: (node) =>
    respell(node, { attributes: new Map([...node.attributes, ['coordinate_transformation_mode', string('output_half_pixel')]]) }),
};

/** It was taken over all axes from `axis` on, and is taken over that axis alone since. */
const softmax: Adapter = {
  since: 13,
  adapt(node) {
    const axis = intOf(node, 'axis', 1);
    const rank = node.input(0)?.type?.shape?.length;
    const attributes = new Map([...node.attributes, ['axis', int(-1)]] as const);
    if (axis === -1 || axis === (rank ?? NaN) - 1) return respell(node, { attributes });
    const build = Builder.before(node);
    const x = node.input(0);
    const flat = build.value('Flatten', [x], { axis: int(axis) });
    const made = build.value(node.op, [flat], { axis: int(-1) });
    return respell(node, { op: 'Reshape', inputs: [made, build.value('Shape', [x])], attributes: {} });
  },
};

const reductions = [
  'ReduceMean',
  'ReduceMax',
  'ReduceMin',
  'ReduceProd',
  'ReduceL1',
  'ReduceL2',
  'ReduceLogSum',
  'ReduceLogSumExp',
  'ReduceSumSquare',
];

/** By operator, in order of versions. */
export const adapters: Readonly<Record<string, readonly Adapter[]>> = {
  ...Object.fromEntries(reductions.map((op) => [op, [axesToOperand(18)]])),
  ...Object.fromEntries(['Softmax', 'LogSoftmax', 'Hardmax'].map((op) => [op, [softmax]])),
  ReduceSum: [axesToOperand(13)],
  Squeeze: [axesToOperand(13)],
  Unsqueeze: [axesToOperand(13)],
  Split: [split],
  Clip: [clip],
  Dropout: [dropout],
  Pad: [pad],
  Slice: [slice],
  TopK: [topK],
  Scatter: [scatter],
  Upsample: [upsample],
  Resize: [{ since: 11, adapt: (node) => resize(node, node.input(1)) }],
  BatchNormalization: [batchNormalization],
  DFT: [dft],
  GridSample: [gridSample],
  RoiAlign: [roiAlign],
};

/** Operators whose adapters look at the types of their operands. */
export const needTypes: ReadonlySet<string> = new Set(['Softmax', 'LogSoftmax', 'Hardmax', 'Clip', 'Pad']);
