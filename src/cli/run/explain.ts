import { codeEntry, codes, fail, type DiagnosticCode } from '../../../ir/index.ts';
import { suggestion } from '../../../passes/index.ts';
import { exitCodes } from '../errors.ts';
import type { Io } from '../command.ts';
import { passesCommand } from './passes.ts';

/** Explains a code, or `pass NAME`. */
export async function explainCommand(subject: readonly string[], io: Io): Promise<void> {
  const [first = '', second, ...rest] = subject;
  if (rest.length > 0 || (second !== undefined && first !== 'pass')) fail('QC2007', 'one subject at a time: a code, or pass and a name');
  if (first === 'pass') return passesCommand(second ?? whichPass(), [], io);
  const code = codeNamed(first);
  const { severity, family, title, page } = codeEntry(code);
  const exitCode = severity === 'error' ? exitCodes[family] : null;
  if (io.terminal.json) return io.terminal.document({ code, severity, family, exitCode, title, page });
  const ends = exitCode === null ? 'does not end the run' : `exit code ${exitCode} (${family})`;
  io.terminal.data(`${io.terminal.color.bold(`${code}: ${title}`)}\n${severity}, ${ends}\n\n${page}`);
}

function codeNamed(text: string): DiagnosticCode {
  const known = Object.keys(codes);
  const wanted = text.toUpperCase();
  if (isCode(wanted)) return wanted;
  return fail('QC2007', `no diagnostic '${text}'${suggestion(wanted, known)}`, undefined, {
    hint: "'qc explain pass NAME' explains a pass",
  });
}

const whichPass = (): never => fail('QC2007', 'explain pass: which one?', undefined, { hint: "'qc passes' lists them" });

const isCode = (text: string): text is DiagnosticCode => Object.hasOwn(codes, text);
