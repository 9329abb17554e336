import { int } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { Expand, RotaryEmbedding } from '../../../ir/ops/generated.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import { tensorType, type Dim } from '../../../ir/types.ts';

/** A RotaryEmbedding of known width: the channels of a head, those that turn, and the heads of 3-D tokens. */
interface Plain {
  readonly view: RotaryEmbedding;
  readonly width: number;
  readonly turned: number;
  readonly heads: number | null;
}

export function plainRotaryEmbedding(node: Node): Plain | null {
  const view = viewAs(RotaryEmbedding, node);
  const shape = view?.x.type?.shape;
  const channels = shape?.at(-1);
  if (!view || !shape || typeof channels !== 'number') return null;
  const heads = shape.length === 3 ? view.num_heads : null;
  const width = heads === null ? channels : channels / heads;
  return Number.isInteger(width) ? { view, width, turned: view.rotary_embedding_dim || width, heads } : null;
}

/** Tables as products want them, each made once: a row for each token, and an axis for the heads. */
type TableOf = (plain: Plain, table: Value) => Value;

/** With x = [a, b, rest] of each head: [a cos - b sin, b cos + a sin, rest]; a and b are halves, or take turns. */
export function lowerRotaryEmbeddings(graph: Graph): void {
  const made = new Map<string, Value>();
  const once = (key: string, make: () => Value): Value => made.get(key) ?? made.set(key, make()).get(key)!;
  const tableOf: TableOf = (plain, table) => {
    const { position_ids: positions, interleaved, node } = plain.view;
    const rows = positions
      ? once(`${positions.name} ${table.name}`, () => gathered(Builder.before(node), table, positions))
      : narrowTable(table);
    const axes = [plain.heads === null ? 1 : 2, ...(interleaved === 0 ? [] : [-1])];
    return once(`${axes.join()} ${rows.name}`, () => withAxes(Builder.behind(graph, rows, rows.name), rows, axes));
  };
  for (const node of [...graph.nodes]) {
    const plain = plainRotaryEmbedding(node);
    if (plain) lower(graph, plain, tableOf);
  }
}

/** The rows of a table that positions [batch, seq] ask for. */
function gathered(build: Builder, table: Value, positions: Value): Value {
  const [width = null] = table.type?.shape?.slice(1) ?? [];
  const type = table.type && tensorType(table.type.dtype, [...(positions.type?.shape ?? [null, null]), width]);
  return build.value('Gather', [table, positions], { axis: int(0) }, type);
}

function withAxes(build: Builder, table: Value, axes: readonly number[]): Value {
  const shape = table.type?.shape;
  const widened = shape && axes.reduce((s, axis) => s.toSpliced(axis < 0 ? s.length : axis, 0, 1), shape);
  return build.value('Unsqueeze', [table, build.ints('axes', axes)], {}, widened ? tensorType(table.type!.dtype, widened) : null);
}

function lower(graph: Graph, plain: Plain, tableOf: TableOf): void {
  const { view, width, turned, heads } = plain;
  const { node, x, y } = view;
  const [cos, sin] = [view.cos_cache, view.sin_cache].map((table) => tableOf(plain, table));
  const build = Builder.before(node, y.name);
  const whole = heads === null ? x : reshaped(build, x, 'heads', [0, 0, heads, width], [...x.type!.shape!.slice(0, 2), heads, width]);
  const turn: Turn = (a, b) => {
    const times = (part: Value, table: Value): Value => build.value('Mul', [part, table], {}, part.type);
    const low = build.value('Sub', [times(a, cos!), times(b, sin!)], {}, a.type);
    return [low, build.value('Add', [times(b, cos!), times(a, sin!)], {}, a.type)];
  };
  const rest = turned < width ? [width - turned] : [];
  const parts =
    view.interleaved === 0
      ? turnedHalves(build, whole, y.name, [turned / 2, turned / 2, ...rest], turn)
      : turnedPairs(build, whole, y.name, [turned, ...rest], turn);
  const joined = parts.length === 1 ? parts[0]! : build.value('Concat', parts, { axis: int(-1) }, heads === null ? y.type : whole.type);
  graph.replace(y, heads === null ? joined : reshaped(build, joined, 'merged', [0, 0, heads * width], x.type!.shape!));
  graph.erase(node);
}

/** Turns a against b. */
type Turn = (a: Value, b: Value) => readonly [Value, Value];

function turnedHalves(build: Builder, x: Value, name: string, sizes: readonly number[], turn: Turn): readonly Value[] {
  const [a, b, ...rest] = split(build, x, `${name}.part`, sizes);
  return [...turn(a!, b!), ...rest];
}

function turnedPairs(build: Builder, x: Value, name: string, sizes: readonly number[], turn: Turn): readonly Value[] {
  const [first, ...rest] = sizes.length === 1 ? [x] : split(build, x, `${name}.part`, sizes);
  const lead = x.type!.shape!.slice(0, -1);
  const copied = lead.map(() => 0);
  const half = sizes[0]! / 2;
  const pairs = reshaped(build, first!, 'pairs', [...copied, half, 2], [...lead, half, 2]);
  const [a, b] = split(build, pairs, `${name}.of_pair`, [1, 1]);
  const both = build.value('Concat', turn(a!, b!), { axis: int(-1) }, pairs.type);
  return [reshaped(build, both, 'flat', [...copied, sizes[0]!], first!.type!.shape!), ...rest];
}

const reshaped = (build: Builder, x: Value, label: string, target: readonly number[], shape: readonly Dim[]): Value =>
  build.value('Reshape', [x, build.ints(label, target)], {}, tensorType(x.type!.dtype, shape));

/** Parts of the last axis. */
function split(build: Builder, x: Value, stem: string, sizes: readonly number[]): readonly Value[] {
  const { dtype, shape } = x.type!;
  const results = sizes.map((size, i) => ({
    name: build.graph.freshName(`${stem}_${i}`),
    type: tensorType(dtype, shape!.with(shape!.length - 1, size)),
  }));
  return build.insert({ op: 'Split', inputs: [x, build.ints('sizes', sizes)], attributes: { axis: int(-1) }, results }).outputs;
}

/** A table before it was expanded to all sequences, which a product does by itself. */
export function narrowTable(table: Value): Value {
  const source = viewAs(Expand, table.producer)?.input;
  return source?.type?.shape?.length === 3 ? source : table;
}
