import { decodeModel, encodeModel, int64 } from '../codegen/onnx/proto.ts';
import type { AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto } from '../codegen/onnx/proto-types.ts';

/** Numbers drawn from a seed (mulberry32). */
export interface Draw {
  /** Less than `n`. */
  int(n: number): number;
  pick<T>(list: readonly T[]): T;
}

export function drawFrom(seed: number): Draw {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (n: number): number => Math.floor(next() * n);
  return { int, pick: (list) => list[int(list.length)]! };
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Changing<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] | undefined ? Mutable<E>[] : T[K] };

/** Extents and numbers that are valid, doubtful or neither. */
const integers = [0, 1, 2, 3, 7, -1, -2, 255, 65536, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), 2 ** 32, 2 ** 40, 2 ** 53, -(2 ** 53)] as const;
const names = ['', 'x', 'y', 'nowhere', 'a b', '%1', '\u0000', 'ü', '../x', '"', 'x'.repeat(300)] as const;
const dataTypes = [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 17, 21, 22, 23, 24, 25, 26, 99, -1] as const;

type Change<T> = (victim: Changing<T>, draw: Draw, graph: Changing<GraphProto>) => void;

const remove = (list: unknown[] | undefined, draw: Draw): void => void (list?.length && list.splice(draw.int(list.length), 1));
const swap = (list: unknown[] | undefined, draw: Draw): void => {
  if (!list?.length) return;
  const [a, b] = [draw.int(list.length), draw.int(list.length)];
  [list[a], list[b]] = [list[b], list[a]];
};
const replace = (list: unknown[] | undefined, by: unknown, draw: Draw): void => void (list?.length && (list[draw.int(list.length)] = by));
const repeat = <T>(list: T[] | undefined, draw: Draw): void =>
  void (list?.length && list.splice(draw.int(list.length + 1), 0, draw.pick(list)));

/** A name that something in the graph has. */
const known = (graph: Changing<GraphProto>, draw: Draw): string =>
  draw.pick([
    ...(graph.node ?? []).flatMap((n) => n.output ?? []),
    ...(graph.initializer ?? []).map((t) => t.name ?? ''),
    ...(graph.input ?? []).map((v) => v.name ?? ''),
    '',
  ]);

const ofNode: readonly Change<NodeProto>[] = [
  (n, draw) => remove(n.input, draw),
  (n, draw) => replace(n.input, '', draw),
  (n, draw, graph) => replace(n.input, known(graph, draw), draw),
  (n, draw) => replace(n.input, draw.pick(names), draw),
  (n, draw, graph) => void (n.input ?? []).push(known(graph, draw) as never),
  (n, draw) => swap(n.input, draw),
  (n, draw) => remove(n.output, draw),
  (n, draw) => replace(n.output, draw.pick(names), draw),
  (n, draw, graph) => replace(n.output, known(graph, draw), draw),
  (n, draw) => void (n.output ?? []).push(draw.pick(names) as never),
  (n, draw, graph) => void (n.opType = draw.pick(graph.node ?? []).opType ?? ''),
  (n, draw) => void (n.opType = draw.pick(['', 'Frobnicate', 'If', 'Loop', 'Identity', 'MatMul', 'Softmax', 'LayerNormalization'])),
  (n, draw) => void (n.domain = draw.pick(['', 'ai.onnx', 'com.microsoft', 'qc', 'nowhere'])),
  (n, draw) => void (n.name = draw.pick(names)),
  (n, draw) => remove(n.attribute, draw),
  (n, draw) => repeat(n.attribute, draw),
];

const ofAttribute: readonly Change<AttributeProto>[] = [
  (a, draw) => void (a.i = int64(draw.pick(integers))),
  (a, draw) => replace(a.ints, int64(draw.pick(integers)), draw),
  (a, draw) => remove(a.ints, draw),
  (a, draw) => void (a.f = draw.pick([0, -1, NaN, Infinity, 1e-40, 1e38])),
  (a, draw) => void (a.name = draw.pick([...names, 'axis', 'perm', 'to', 'epsilon'])),
  (a, draw) => void (a.type = draw.int(16)),
  (a, draw) => void (a.s = Uint8Array.from({ length: draw.int(5) }, () => draw.int(256))),
  (a, draw) => void (a.refAttrName = draw.pick(names)),
];

const ofTensor: readonly Change<TensorProto>[] = [
  (t, draw) => void (t.dataType = draw.pick(dataTypes)),
  (t, draw) => replace(t.dims, int64(draw.pick(integers)), draw),
  (t, draw) => remove(t.dims, draw),
  (t, draw) => void (t.dims ?? []).push(int64(draw.pick(integers)) as never),
  (t, draw) => swap(t.dims, draw),
  (t, draw) => void (t.rawData = (t.rawData ?? new Uint8Array(4)).subarray(draw.int(8))),
  (t) => void (t.rawData = new Uint8Array(0)),
  (t, draw) => void (t.rawData = (t.rawData ?? new Uint8Array(64)).map(() => draw.pick([0, 0x7f, 0x80, 0xff]))),
  (t, draw) => void (t.name = draw.pick(names)),
  (t, draw) => {
    t.dataLocation = 1;
    t.externalData = [{ key: 'location', value: draw.pick(['weights', '../weights', '/etc/hostname', '', '.']) }];
  },
];

const ofValue: readonly Change<ValueInfoProto>[] = [
  (v, draw) => void (v.name = draw.pick(names)),
  (v) => void delete v.type,
  (v, draw) => void (v.type = { tensorType: { elemType: draw.pick(dataTypes) } }),
  (v, draw) =>
    void (v.type = {
      tensorType: { elemType: v.type?.tensorType?.elemType ?? 1, shape: { dim: [{ dimValue: int64(draw.pick(integers)) }, {}] } },
    }),
  (v, draw) => {
    const dim = [...(v.type?.tensorType?.shape?.dim ?? [])];
    replace(dim, draw.pick([{}, { dimParam: 'n' }, { dimValue: int64(draw.pick(integers)) }]), draw);
    v.type = { tensorType: { elemType: v.type?.tensorType?.elemType ?? 1, shape: { dim } } };
  },
  (v) => void (v.type = { sequenceType: { elemType: { tensorType: { elemType: 1 } } } }),
];

const ofGraph: readonly Change<GraphProto>[] = [
  (g, draw) => remove(g.node, draw),
  (g, draw) => repeat(g.node, draw),
  (g, draw) => swap(g.node, draw),
  (g, draw) => remove(g.initializer, draw),
  (g, draw) => repeat(g.initializer, draw),
  (g, draw) => remove(g.input, draw),
  (g, draw) => repeat(g.input, draw),
  (g, draw) => swap(g.input, draw),
  (g, draw) => remove(g.output, draw),
  (g, draw) => repeat(g.output, draw),
  (g, draw) => void (g.output ?? []).push({ name: known(g, draw) }),
  (g, draw) => void (g.input ?? []).push({ ...draw.pick(g.output ?? [{}]), name: known(g, draw) }),
  (g, draw) => void (g.valueInfo ??= []).push({ name: known(g, draw), type: { tensorType: { elemType: draw.pick(dataTypes) } } }),
  (g) => void (g.node = []),
  (g) => void (g.output = []),
];

const ofModel: readonly ((m: Changing<ModelProto>, draw: Draw) => void)[] = [
  (m, draw) => void (m.irVersion = int64(draw.pick([0, 3, 8, 10, 14, 2 ** 40]))),
  (m, draw) => void (m.opsetImport = [{ domain: '', version: int64(draw.pick([...Array(30).keys(), -1, 2 ** 40])) }]),
  (m, draw) => remove(m.opsetImport, draw),
  (m) => void (m.opsetImport ?? []).push({ domain: '', version: int64(9) }),
  (m, draw) => remove(m.functions, draw),
  (m) => void delete m.graph,
];

/** The graph, and those inside of it. */
const graphsIn = (graph: GraphProto): readonly GraphProto[] => [
  graph,
  ...(graph.node ?? []).flatMap((n) => (n.attribute ?? []).flatMap((a) => (a.g ? graphsIn(a.g) : []))),
];

function changeOne(model: Changing<ModelProto>, draw: Draw): void {
  if (!model.graph || draw.int(20) === 0) return draw.pick(ofModel)(model, draw);
  const graph = draw.pick(graphsIn(model.graph)) as Changing<GraphProto>;
  const apply = <T>(victims: readonly Mutable<T>[], changes: readonly Change<T>[]): void => {
    if (victims.length > 0) draw.pick(changes)(draw.pick(victims) as Changing<T>, draw, graph);
  };
  switch (draw.int(6)) {
    case 0:
    case 1:
      return apply(graph.node ?? [], ofNode);
    case 2:
      return apply((graph.node ?? []).flatMap((n) => n.attribute ?? []) as Mutable<AttributeProto>[], ofAttribute);
    case 3:
      return apply(graph.initializer ?? [], ofTensor);
    case 4:
      return apply([...(graph.input ?? []), ...(graph.output ?? []), ...(graph.valueInfo ?? [])], ofValue);
    default:
      return draw.pick(ofGraph)(graph, draw, graph);
  }
}

/** The model with one to three of its parts changed; the same for the same seed. */
export function mutateStructure(bytes: Uint8Array, draw: Draw): Uint8Array {
  const model = decodeModel(bytes) as Changing<ModelProto>;
  for (let left = 1 + draw.int(3); left > 0; left--) changeOne(model, draw);
  return encodeModel(model);
}

/** The file with some bytes changed, removed or added, or cut; most of them near names of nodes, where the structure is and no weights. */
export function mutateBytes(bytes: Uint8Array, draw: Draw): Uint8Array {
  const nodes = decodeModel(bytes).graph?.node ?? [];
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const place = (): number => {
    const at = draw.int(4) === 0 ? draw.int(bytes.length) : file.indexOf(draw.pick(nodes).output?.[0] ?? '') + draw.int(80) - 40;
    return Math.min(Math.max(at, 0), bytes.length);
  };
  return Buffer.concat([
    ...pieces(
      bytes,
      Array.from({ length: 1 + draw.int(4) }, place).sort((a, b) => a - b),
      draw,
    ),
  ]);
}

function* pieces(bytes: Uint8Array, places: readonly number[], draw: Draw): Iterable<Uint8Array> {
  let at = 0;
  for (const place of places) {
    yield bytes.subarray(at, Math.max(at, place));
    at = Math.max(at, place) + draw.int(3);
    yield Uint8Array.from({ length: draw.int(3) }, () => draw.pick([draw.int(256), 0, 0xff, 0x80]));
  }
  yield bytes.subarray(at, draw.int(8) === 0 ? Math.max(at, draw.int(bytes.length)) : bytes.length);
}
