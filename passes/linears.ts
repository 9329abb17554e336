import { isMatrix } from '../ir/constants.ts';
import type { Graph, Node, Value } from '../ir/graph.ts';
import { Add, Attention, MatMul } from '../ir/ops/generated.ts';
import { FakeQuantize } from '../ir/ops/qc.ts';
import { viewAs } from '../ir/ops/view.ts';

/** A product with a constant weight: x [.., in] times W [in, out]. */
export interface Linear {
  readonly node: Node;
  readonly input: Value;
  readonly weight: Value;
}

/** The weight of a product: the constant itself, or the constant that it quantizes. */
export function weightOf(node: Node): Value | null {
  const b = node.op === MatMul.schema.op ? node.input(1) : null;
  const constant = viewAs(FakeQuantize, b?.producer ?? null)?.x ?? b;
  return isMatrix(constant) ? constant : null;
}

/** The products with constant weights, in order. */
export function linearsOf(graph: Graph): readonly Linear[] {
  return [...graph.nodes].flatMap((node) => {
    const weight = weightOf(node);
    return weight ? { node, input: node.input(0)!, weight } : [];
  });
}

/** Whether a linear gives a result of the model: a head, which schemes leave in float unless told otherwise. */
export function isHead(graph: Graph, { node }: Linear): boolean {
  const next = node.output.soleUse?.node;
  const result = next?.op === Add.schema.op ? next.output : node.output;
  return graph.outputs.includes(node.output) || graph.outputs.includes(result);
}

/** The name that the ledger gives to a node. */
export const nameOf = (node: Node): string => (node.name === '' ? (node.outputs[0]?.name ?? node.op) : node.name);

const follows = /^(Add|qc\.(Observer|Site|Encode|Decode))$/;

/** The Attention that a value feeds as query, key or value, behind a bias and sites; null if none. */
export function attentionFed(value: Value): Node | null {
  const use = value.soleUse;
  if (use?.node.op === Attention.schema.op && use.index < 3) return use.node;
  return use && follows.test(use.node.op) ? attentionFed(use.node.output) : null;
}

/** The Attention whose result a value is, behind sites; null if none. */
export function attentionResult(value: Value): Node | null {
  const node = value.producer;
  if (node?.op === Attention.schema.op) return node;
  return node && /^qc\.(Observer|Site|Encode|Decode)$/.test(node.op) ? attentionResult(node.input(0)!) : null;
}
