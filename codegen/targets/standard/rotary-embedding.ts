import { int } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { Expand, RotaryEmbedding } from '../../../ir/ops/generated.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import { tensorType } from '../../../ir/types.ts';

/** A RotaryEmbedding by halves, whose tables have a row for each token: the channels of a head, those that turn, and the heads of 3-D tokens. */
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
  if (!view || !shape || typeof channels !== 'number' || view.interleaved !== 0 || view.position_ids !== null) return null;
  const heads = shape.length === 3 ? view.num_heads : null;
  const width = heads === null ? channels : channels / heads;
  return Number.isInteger(width) ? { view, width, turned: view.rotary_embedding_dim || width, heads } : null;
}

/** With x = [a, b, rest] of each head: [a cos - b sin, b cos + a sin, rest]. */
export function lowerRotaryEmbeddings(graph: Graph): void {
  const tables = new Map<string, Value>();
  /** A table with an axis for the heads. */
  const perHead = (table: Value, axis: number): Value => {
    const key = `${axis} ${table.name}`;
    const known = tables.get(key);
    if (known) return known;
    const build = Builder.behind(graph, table, table.name);
    const shape = table.type?.shape;
    const type = shape ? tensorType(table.type!.dtype, shape.toSpliced(axis, 0, 1)) : null;
    const made = build.value('Unsqueeze', [table, build.ints('axes', [axis])], {}, type);
    tables.set(key, made);
    return made;
  };
  for (const node of [...graph.nodes]) {
    const plain = plainRotaryEmbedding(node);
    if (plain) lower(graph, plain, perHead);
  }
}

function lower(graph: Graph, { view, width, turned, heads }: Plain, perHead: (table: Value, axis: number) => Value): void {
  const { node, x, y } = view;
  const dtype = x.type!.dtype;
  const build = Builder.before(node, y.name);
  const [cos, sin] = [view.cos_cache, view.sin_cache].map((table) => perHead(narrow(table), heads === null ? 1 : 2));
  const lead = heads === null ? x.type!.shape!.slice(0, -1) : [...x.type!.shape!.slice(0, 2), heads];
  const of = (channels: number) => tensorType(dtype, [...lead, channels]);
  const whole = heads === null ? x : build.value('Reshape', [x, build.ints('heads', [0, 0, heads, width])], {}, of(width));
  const sizes = [turned / 2, turned / 2, ...(turned < width ? [width - turned] : [])];
  const results = sizes.map((n, i) => ({ name: graph.freshName(`${y.name}.part_${i}`), type: of(n) }));
  const split = { op: 'Split', inputs: [whole, build.ints('sizes', sizes)], attributes: { axis: int(-1) }, results };
  const [a, b, ...rest] = build.insert(split).outputs;
  const half = of(turned / 2);
  const times = (part: Value, table: Value): Value => build.value('Mul', [part, table], {}, half);
  const low = build.value('Sub', [times(a!, cos!), times(b!, sin!)], {}, half);
  const high = build.value('Add', [times(b!, cos!), times(a!, sin!)], {}, half);
  const joined = build.value('Concat', [low, high, ...rest], { axis: int(-1) }, heads === null ? y.type : of(width));
  const result = heads === null ? joined : build.value('Reshape', [joined, build.ints('merged', [0, 0, heads * width])], {}, y.type);
  graph.replace(y, result);
  graph.erase(node);
}

/** A table before it was expanded to all sequences, which a product does by itself. */
function narrow(table: Value): Value {
  const source = viewAs(Expand, table.producer)?.input;
  return source?.type?.shape?.length === 3 ? source : table;
}
