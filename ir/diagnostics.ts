import { codeEntry, type DiagnosticCode, type Severity } from './diagnostic-codes.ts';

/**
 * Where a fact came from. An ONNX file has no lines: the node's name is the place. A node that a pass made has the places of
 * the nodes it replaced.
 */
export type Location =
  | { readonly kind: 'onnx'; readonly file: string; readonly node: string }
  | { readonly kind: 'text'; readonly file: string; readonly line: number; readonly column: number }
  | { readonly kind: 'unknown' };

export const unknownLocation: Location = { kind: 'unknown' };

/** One message to the user: what is wrong, where, why (notes) and what to do (hint). */
export interface Diagnostic {
  readonly code: DiagnosticCode;
  readonly severity: Severity;
  readonly message: string;
  readonly at: Location;
  readonly notes?: readonly string[];
  readonly hint?: string;
}

/** Thrown when going on would be wrong. The driver prints the diagnostics and chooses the exit code by their family. */
export class QcError extends Error {
  readonly diagnostics: readonly Diagnostic[];
  constructor(diagnostics: readonly Diagnostic[]) {
    super(diagnostics.map(formatDiagnostic).join('\n'));
    this.name = 'QcError';
    this.diagnostics = diagnostics;
  }
  get code(): DiagnosticCode {
    return this.diagnostics[0]!.code;
  }
}

export interface Detail {
  readonly notes?: readonly string[];
  readonly hint?: string;
}

/** A diagnostic with the severity that the table gives to its code. */
export const diagnostic = (code: DiagnosticCode, message: string, at: Location = unknownLocation, detail: Detail = {}): Diagnostic => ({
  code,
  severity: codeEntry(code).severity,
  message,
  at,
  ...detail,
});

/** Throws a coded error. */
export function fail(code: DiagnosticCode, message: string, at: Location = unknownLocation, detail: Detail = {}): never {
  throw new QcError([{ ...diagnostic(code, message, at, detail), severity: 'error' }]);
}

export function formatLocation(at: Location): string {
  switch (at.kind) {
    case 'onnx':
      return at.node === '' ? at.file : `${at.file}#${at.node}`;
    case 'text':
      return `${at.file}:${at.line}:${at.column}`;
    case 'unknown':
      return '';
  }
}

/** One line, then notes and hint on lines of their own: `model.onnx#/layers.3/ln_1: warning QC3101: ...`. */
export function formatDiagnostic(d: Diagnostic): string {
  const place = formatLocation(d.at);
  const head = `${place === '' ? '' : `${place}: `}${d.severity} ${d.code}: ${d.message}`;
  const notes = (d.notes ?? []).map((n) => `\n  note: ${n}`).join('');
  return `${head}${notes}${d.hint === undefined ? '' : `\n  hint: ${d.hint}`}`;
}
