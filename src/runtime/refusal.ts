import { QcError, fail, type Location } from '../../ir/diagnostics.ts';
import { dtypes } from '../../ir/types.ts';

/** What a refusal can point at: the file or graph, and where its nodes came from. */
export interface Subject {
  /** As the user knows it: a model file, or the name of a graph. */
  readonly name: string;
  /** The file that ONNX Runtime reads, which its messages mention. */
  readonly path: string;
  readonly nodes: ReadonlyMap<string, Location>;
}

export const placeOf = (subject: Subject, node = ''): Location => {
  const known = subject.nodes.get(node);
  return known && known.kind !== 'unknown' ? known : { kind: 'onnx', file: subject.name, node };
};

/** Throws QC5001 with ONNX Runtime's message, at the node that the message names. Coded errors pass through. */
export function refuse(subject: Subject, action: 'load' | 'run', error: unknown): never {
  if (error instanceof QcError) throw error;
  const message = readable(error instanceof Error ? error.message : String(error), subject);
  return fail('QC5001', `ONNX Runtime could not ${action} it: ${message}`, placeOf(subject, nodeIn(message)));
}

function readable(message: string, subject: Subject): string {
  const type = /^Unsupported data type: (\d+)$/.exec(message)?.[1];
  if (type !== undefined) return `an input or output is ${dtypes[Number(type) - 1] ?? `type ${type}`}, which onnxruntime-node cannot pass`;
  return message
    .replaceAll(subject.path, subject.name)
    .replace(/^Load model from .*? failed:\s*/, '')
    .replace(/\s+/g, ' ')
    .trim();
}

// The ways in which ONNX Runtime names a node, most specific first.
const namings = [/Name:'([^']+)'/, /node with name '([^']+)'/, /Node \(([^)]+)\) Op \(/, /In Node, \("([^"]+)"/, /Node:\s?([^\s,]+) /];

const nodeIn = (message: string): string => namings.map((naming) => naming.exec(message)?.[1]).find((name) => name !== undefined) ?? '';
