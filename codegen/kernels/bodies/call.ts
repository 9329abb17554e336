import type { Node } from '../../../ir/graph.ts';
import { fail } from '../../../ir/diagnostics.ts';
import { kernelOperators } from '../operators.ts';

export type KernelName = keyof typeof kernelOperators;

/** Whether an operator is one of the kernel library. */
export const isKernel = (op: string): boolean => op.startsWith('qc.') && Object.hasOwn(kernelOperators, op.slice(3));

/** What of a node decides which nodes its body has. */
export interface Call {
  readonly name: KernelName;
  /** Names of the operands up to the last that is there. */
  readonly inputs: readonly string[];
  readonly input: (name: string) => boolean;
  /** Names of the results up to the last that is there. */
  readonly outputs: readonly string[];
  readonly output: (name: string) => boolean;
  readonly bits: (attribute: string) => number;
  readonly activation: string;
}

export function callOf(node: Node): Call {
  const name = node.op.slice(3) as KernelName;
  const { inputs, outputs } = kernelOperators[name];
  const names = inputs.map((p) => p.name);
  const last = node.operands.findLastIndex((u) => u.value !== null);
  const activation = node.attributes.get('activation');
  return {
    name,
    inputs: names.slice(0, last + 1),
    input: (port) => node.input(names.indexOf(port as never)) != null,
    outputs: outputs.map((p) => p.name).slice(0, node.outputs.length),
    output: (port) => outputs.findIndex((p) => p.name === port) < node.outputs.length,
    bits: (attribute) => {
      const given = node.attributes.get(attribute);
      return given?.kind === 'int' ? Number(given.value) : fail('QC9001', `${node.op} lacks the attribute '${attribute}'`, node.loc);
    },
    activation: activation?.kind === 'string' ? activation.value : 'none',
  };
}

/** A name for all calls that have the same body, which ONNX calls an overload: widths, operands and results that are there, activation. */
export function overloadOf(call: Call): string {
  const { inputs, outputs, attributes } = kernelOperators[call.name];
  const widths = Object.keys(attributes)
    .filter((a) => a.endsWith('bits'))
    .map((a) => `${a.replace('_bits', '').replace('bits', 'b')}${call.bits(a)}`);
  const ports = [...inputs.filter((p) => p.optional && call.input(p.name)), ...outputs.filter((p) => p.optional && call.output(p.name))];
  const activation = call.activation === 'none' ? [] : [call.activation];
  return [...widths, ...ports.map((p) => p.name), ...activation].join('.');
}
