import type { Attributes } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { fail } from '../../ir/diagnostics.ts';
import type { Graph, Node, Value } from '../../ir/graph.ts';
import type { TensorType } from '../../ir/types.ts';
import { carry } from '../onnx/carried.ts';
import type { KernelName } from './bodies/call.ts';
import { kernelOperators } from './operators.ts';

export interface KernelCall {
  readonly operands: Readonly<Record<string, Value | null | undefined>>;
  /** The type of every result that is wanted; the others are left out. */
  readonly results: Readonly<Record<string, TensorType | null>>;
  readonly attributes: Attributes;
  /** What names of values are made of. */
  readonly stem: string;
}

/** Puts a node of the kernel library in front of `before`, checked against the manifest: what leaves here loads on every build. */
export function emitKernel(graph: Graph, before: Node, name: KernelName, call: KernelCall): Node {
  const schema = kernelOperators[name];
  const wrong = (what: string): never => fail('QC9001', `qc.${name}: ${what}`, before.loc);
  const operands = schema.inputs.map((p) => call.operands[p.name] ?? (p.optional ? null : wrong(`operand ${p.name} is missing`)));
  for (const port of Object.keys(call.operands)) if (!schema.inputs.some((p) => p.name === port)) wrong(`there is no operand ${port}`);
  for (const port of Object.keys(call.results)) if (!schema.outputs.some((p) => p.name === port)) wrong(`there is no result ${port}`);
  for (const [attribute, kind] of Object.entries(schema.attributes))
    if (call.attributes[attribute]?.kind !== kind) wrong(`attribute ${attribute} is not of kind ${kind}`);
  const wanted = schema.outputs.map((p) => p.name in call.results);
  const node = Builder.before(before).insert({
    op: `qc.${name}`,
    name: before.name === '' ? '' : `${before.name}.${name}`,
    inputs: operands.slice(0, operands.findLastIndex((v) => v !== null) + 1),
    attributes: call.attributes,
    results: schema.outputs.slice(0, wanted.lastIndexOf(true) + 1).map((p) => ({
      name: graph.freshName(`${call.stem}.${p.name}`),
      type: call.results[p.name] ?? null,
    })),
  });
  // Types are written: a custom operator infers none, and operators behind it want to know.
  node.outputs.forEach((value, i) => carry(value, wanted[i] ? { info: {} } : { omitted: true }));
  return node;
}

/** The result of a kernel node by its name in the manifest. */
export function resultOf(node: Node, name: string): Value {
  const outputs = kernelOperators[node.op.slice(3) as KernelName].outputs;
  return node.outputs[outputs.findIndex((p) => p.name === name)] ?? fail('QC9001', `${node.op} has no result ${name}`, node.loc);
}
