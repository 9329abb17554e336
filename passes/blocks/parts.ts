import type { Attribute } from '../../ir/attributes.ts';
import type { Graph, Node, Value } from '../../ir/graph.ts';
import { traitsOf } from '../../ir/ops/traits.ts';
import { readsOf, type Slice } from '../../ir/slice.ts';
import type { Tensor } from '../../ir/tensor.ts';

/** The nodes that compute some values from others: a part of a graph between two of its cuts. */
export interface Part extends Slice {
  /** Equal for parts of two graphs that compute the same in the same way from the same constants. */
  readonly signature: string;
}

/** What computes `wanted` from the inputs of the graph and from the values whose names are known. */
export function partOf(graph: Graph, wanted: readonly Value[], known: ReadonlySet<string>): Part {
  const isGiven = (v: Value): boolean => v.producer === null || known.has(v.name);
  const inside = new Set<Node>();
  const open = wanted.filter((v) => !isGiven(v));
  for (let v = open.pop(); v; v = open.pop()) {
    if (inside.has(v.producer!)) continue;
    inside.add(v.producer!);
    open.push(...readsOf(v.producer!).filter((read) => !isGiven(read)));
  }
  const nodes = [...graph.nodes].filter((n) => inside.has(n));
  const reads = [...nodes.flatMap(readsOf), ...wanted];
  // A node may give a known value beside one that is wanted.
  const inputs = new Set(reads.filter((v) => v.constant === null && isGiven(v) && !inside.has(v.producer!)));
  return { nodes, inputs: [...inputs], outputs: wanted, signature: `${signatureOf(nodes)} -> ${wanted.map(textOf).join()}` };
}

const signatureOf = (nodes: Iterable<Node>): string =>
  [...nodes]
    .filter((n) => !traitsOf(n.op).marks)
    .map(
      (n) =>
        `${n.outputs.map((o) => o.name).join()}=${n.op}(${n.operands.map((u) => u.value && textOf(u.value)).join()})${attributesOf(n)}`,
    )
    .join(';');

/** A value by what gives it: a constant by its tensor, all else by the name. */
function textOf(v: Value): string {
  if (v.constant) return `#${numberOf(v.constant)}`;
  return v.producer && traitsOf(v.producer.op).marks ? textOf(v.producer.input(0)!) : v.name;
}

const attributesOf = (node: Node): string =>
  [...node.attributes]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, a]) => `${name}:${attributeText(a)}`)
    .join();

function attributeText(a: Attribute): string {
  switch (a.kind) {
    case 'tensor':
      return `#${numberOf(a.value)}`;
    case 'graph':
      return bodyText(a.value);
    case 'graphs':
      return a.value.map(bodyText).join();
    default:
      return String(a.value);
  }
}

const bodyText = (body: Graph): string =>
  `{${body.inputs.map((v) => v.name).join()}:${signatureOf(body.nodes)}->${body.outputs.map(textOf).join()}}`;

const numbers = new WeakMap<Tensor, number>();
let last = 0;

/** Tensors are told apart by identity, so that none is read. */
function numberOf(tensor: Tensor): number {
  const known = numbers.get(tensor);
  if (known !== undefined) return known;
  numbers.set(tensor, ++last);
  return last;
}
