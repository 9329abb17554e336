import { diagnostic, fail, QcError, type Location } from '../../ir/diagnostics.ts';
import { dtypes } from '../../ir/types.ts';
import { processFault, temporaryFault } from './machine-faults.ts';

/** What a refusal can point at: the file or graph, and where its nodes came from. */
export interface Subject {
  /** As the user knows it: a model file, or the name of a graph. */
  readonly name: string;
  /** The file that ONNX Runtime reads, which its messages mention. */
  readonly path: string;
  readonly nodes: ReadonlyMap<string, Location>;
}

/** Why a call of the process has no answer. */
export type Failure =
  /** ONNX Runtime refused; or the system did, which has a code for it. */
  | { readonly kind: 'failed'; readonly message: string; readonly code: string | null }
  /** The process ended in this call. */
  | { readonly kind: 'crashed'; readonly exitCode: number | null; readonly signal: string | null }
  /** It had ended in an earlier call. */
  | { readonly kind: 'lost' }
  /** It never started. */
  | { readonly kind: 'unstarted'; readonly message: string; readonly code: string | null };

export const placeOf = (subject: Subject, node = ''): Location => {
  const known = subject.nodes.get(node);
  return known && known.kind !== 'unknown' ? known : { kind: 'onnx', file: subject.name, node };
};

/**
 * Throws QC5001 with ONNX Runtime's message, at the node that the message names; QC5005 when its process ended; QC5006 or QC5007 when
 * the machine is at fault.
 */
export function refuse(subject: Subject, action: 'load' | 'run', failure: Failure): never {
  switch (failure.kind) {
    case 'failed':
      throw temporaryFault(failure.code) ?? refusal(subject, action, failure.message);
    case 'crashed':
      return crash(subject, action, failure.signal, failure.exitCode);
    case 'lost':
      return fail('QC5005', `ONNX Runtime could not ${action} it, because its process has crashed before`, placeOf(subject));
    case 'unstarted':
      throw processFault(failure.message, failure.code);
  }
}

function refusal(subject: Subject, action: 'load' | 'run', words: string): QcError {
  if (words.includes('pthread_create failed')) return processFault(words, 'EAGAIN');
  const message = readable(words, subject);
  return new QcError([diagnostic('QC5001', `ONNX Runtime could not ${action} it: ${message}`, placeOf(subject, nodeIn(message)))]);
}

function crash(subject: Subject, action: 'load' | 'run', signal: string | null, exitCode: number | null): never {
  const end = signal === null ? `ended with code ${exitCode}` : `was ended by ${signal}`;
  const hint =
    signal === 'SIGKILL'
      ? 'the system kills a process that takes too much memory: free some, or give fewer or shorter samples'
      : 'ONNX Runtime does not check all of a model; onnx.checker may say what is wrong with it';
  return fail('QC5005', `ONNX Runtime crashed when it should ${action} it: its process ${end}`, placeOf(subject), { hint });
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
