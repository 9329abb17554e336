import { isMatrix } from '../../ir/constants.ts';
import type { Graph, Node, Value } from '../../ir/graph.ts';
import { Attention, MatMul } from '../../ir/ops/generated.ts';
import { FakeQuantize } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';

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

/**
 * Whether a linear is the model's head, the logits behind the last norm, which schemes leave in float unless told otherwise. A linear
 * deeper inside that happens to give a result of the model is none.
 */
export function isHead(graph: Graph, { node }: Linear): boolean {
  const norm = normRead(node.input(0));
  return norm !== null && isGivenOut(graph, node.output) && !reaches(norm, isNorm) && !reaches(node, (n) => weightOf(n) !== null);
}

/** Operators that hand a result on to the caller as it is, but for a bias, its type and its extents. */
const handsOut = /^(Add|Identity|Cast|Reshape|Squeeze|Unsqueeze|Slice)$/;

function isGivenOut(graph: Graph, value: Value): boolean {
  if (graph.outputs.includes(value)) return true;
  const use = value.soleUse;
  return use !== null && use.index === 0 && handsOut.test(use.node.op) && isGivenOut(graph, use.node.output);
}

/** Operators that pick from what a norm gives. */
const picks = /^(Identity|Cast|Reshape|Flatten|Squeeze|Unsqueeze|Slice|Gather|Transpose|qc\..*)$/;

/** The norm that a value comes from; null if none. */
function normRead(value: Value | null): Node | null {
  const node = value?.producer ?? null;
  if (node === null || isNorm(node)) return node;
  return picks.test(node.op) ? normRead(node.input(0)) : null;
}

/** Whether what a node gives goes on into one that passes `test`. */
function reaches(from: Node, test: (node: Node) => boolean): boolean {
  const seen = new Set<Node>();
  const open = [from];
  for (let node = open.pop(); node; node = open.pop()) {
    for (const use of node.outputs.flatMap((o) => [...o.uses])) {
      if (test(use.node)) return true;
      if (!seen.has(use.node)) open.push(use.node);
      seen.add(use.node);
    }
  }
  return false;
}

export const norms: ReadonlySet<string> = new Set(['LayerNormalization', 'RMSNormalization']);
export const isNorm = (node: Node): boolean => norms.has(node.op);

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
