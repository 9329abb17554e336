import type { Node, Value } from '../../../ir/graph.ts';
import { Gelu, Mul, Relu, Sigmoid } from '../../../ir/ops/generated.ts';
import { viewAs, type OpClass, type OpView } from '../../../ir/ops/view.ts';
import { isOutput } from '../../../ir/pattern.ts';
import { biasOf } from '../bias.ts';

/** What a product can do on the way out: a bias, an activation function, a multiplier for each element. */
export interface Tail {
  readonly bias: Value | null;
  readonly activation: string;
  readonly multiplier: Value | null;
  /** The nodes that this replaces, the product first. */
  readonly nodes: readonly Node[];
}

/** The nodes behind a product that its kernel takes over. */
export function tailOf(product: Node, columns: number): Tail {
  const biased = biasOf(product, columns);
  const plain: Tail = { bias: biased?.b ?? null, activation: 'none', multiplier: null, nodes: [product, ...(biased ? [biased.node] : [])] };
  return gated(activated(plain));
}

const endOf = (tail: Tail): Value => tail.nodes.at(-1)!.output;

function activated(tail: Tail): Tail {
  const x = endOf(tail);
  const relu = onlyReader(x, Relu);
  if (relu) return { ...tail, activation: 'relu', nodes: [...tail.nodes, relu.node] };
  const gelu = onlyReader(x, Gelu);
  if (gelu) return { ...tail, activation: gelu.approximate === 'tanh' ? 'gelu_tanh' : 'gelu', nodes: [...tail.nodes, gelu.node] };
  const silu = siluOf(x);
  return silu ? { ...tail, activation: 'silu', nodes: [...tail.nodes, ...silu] } : tail;
}

/** x * sigmoid(x), if nothing else reads x. */
function siluOf(x: Value): readonly Node[] | null {
  if (isOutput(x) || x.uses.size !== 2) return null;
  const sigmoid = [...x.uses].map((u) => viewAs(Sigmoid, u.node)).find((s) => s !== null);
  const product = sigmoid ? onlyReader(sigmoid.y, Mul) : null;
  return sigmoid && product && otherOf(product, sigmoid.y) === x ? [sigmoid.node, product.node] : null;
}

/** An activated product times another value of its shape: the gate of a gated MLP. */
function gated(tail: Tail): Tail {
  const x = endOf(tail);
  const product = tail.activation === 'none' ? null : onlyReader(x, Mul);
  const other = product && otherOf(product, x);
  if (!product || !other || other === x || !sameShape(x, other)) return tail;
  return { ...tail, multiplier: other, nodes: [...tail.nodes, product.node] };
}

const otherOf = (product: Mul, x: Value): Value => (product.a === x ? product.b : product.a);

/** Whether two values are known to have the same element type and shape. */
export function sameShape(a: Value, b: Value): boolean {
  const [s, t] = [a.type?.shape, b.type?.shape];
  return !!s && !!t && a.type!.dtype === b.type!.dtype && s.length === t.length && s.every((d, i) => d !== null && d === t[i]);
}

function onlyReader<V extends OpView>(x: Value, cls: OpClass<V>): V | null {
  return isOutput(x) ? null : viewAs(cls, x.soleUse?.node ?? null);
}
