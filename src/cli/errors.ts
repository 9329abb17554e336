import { CommanderError } from '@commander-js/extra-typings';
import { codeEntry, type Family } from '../../ir/diagnostic-codes.ts';
import { diagnostic, QcError, type Diagnostic } from '../../ir/diagnostics.ts';

/** Exit codes by the family of a diagnostic code. */
export const exitCodes: Readonly<Record<Family, number>> = { failure: 1, usage: 2, model: 3, gate: 4, internal: 70 };

/** Anything thrown, as diagnostics: never empty, the cause of the exit code first. */
export function problemsIn(error: unknown): readonly Diagnostic[] {
  if (isQcError(error)) return error.diagnostics;
  if (error instanceof CommanderError) return [usage(error)];
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return [diagnostic('QC9001', message, undefined, { hint: 'DEBUG=qc* shows where; please report it with the command' })];
}

/** Also one of another copy of the library, which a plugin may have imported. */
const isQcError = (error: unknown): error is QcError =>
  error instanceof QcError ||
  (error instanceof Error && error.name === 'QcError' && 'diagnostics' in error && Array.isArray(error.diagnostics));

/** The exit code of diagnostics: that of the first. */
export const exitCodeFor = (problems: readonly Diagnostic[]): number => exitCodes[codeEntry(problems[0]!.code).family];

/** An error as `--json` prints it. */
export interface ErrorDocument {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly at: Diagnostic['at'];
    readonly notes: readonly string[];
    readonly hint: string | null;
    readonly title: string;
  };
  /** All of them, when there are several. */
  readonly diagnostics?: readonly Diagnostic[];
}

/** The JSON document of an error. */
export function documentOf(problems: readonly Diagnostic[]): ErrorDocument {
  const { code, message, at, notes = [], hint = null } = problems[0]!;
  const error = { code, message, at, notes, hint, title: codeEntry(code).title };
  return problems.length > 1 ? { error, diagnostics: problems } : { error };
}

/** `error: unknown option '--shceme'\n(Did you mean --scheme?)` in the words of our other messages. */
function usage(error: CommanderError): Diagnostic {
  const [first = '', ...rest] = error.message.replace(/^error: /, '').split('\n');
  const meant = /Did you mean (one of )?(.*)\?\)/.exec(rest.join(' '))?.[2];
  const message = `${first.replace(/\.$/, '')}${meant === undefined ? '' : `; did you mean '${meant}'?`}`;
  const hint = error.code === 'commander.missingArgument' ? greedy : 'qc --help lists the commands, qc help COMMAND the options';
  return diagnostic('QC2007', error.code === 'commander.help' ? 'no command given' : message, undefined, { hint });
}

const greedy = 'put it before options that take several values, such as --calib and --data';
