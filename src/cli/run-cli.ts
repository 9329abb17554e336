import { CommanderError } from '@commander-js/extra-typings';
import { fail } from '../../ir/diagnostics.ts';
import { suggestion } from '../../passes/infra/options.ts';
import { killChildren } from '../runtime/child-processes.ts';
import { startTemporaryRoot } from './temporary-root.ts';
import { documentOf, exitCodeFor, problemsIn } from './errors.ts';
import { watchSignals, type Signals } from './signals.ts';
import type { Command, Talk } from './command.ts';
import { buildProgram } from './program.ts';
import { Terminal } from './terminal.ts';

/** Runs one command line and gives its exit code; whatever goes wrong has been said on stderr, or as JSON on stdout. */
export async function runCli(argv: readonly string[]): Promise<number> {
  const terminal = new Terminal({ json: asksForJson(argv) });
  reportCrashes(terminal);
  let code = 0;
  try {
    const run = async (talk: Talk, command: Command): Promise<void> => void (code = await attend(new Terminal(talk), command));
    const program = buildProgram(run);
    checkCommand(
      argv,
      program.commands.map((c) => c.name()),
    );
    await program.parseAsync(argv, { from: 'user' });
    return code;
  } catch (error) {
    return error instanceof CommanderError && error.exitCode === 0 ? 0 : failWith(terminal, error);
  }
}

/** commander suggests nothing for `buidl`, and shows its general help for `help buidl`. */
function checkCommand([first, second]: readonly string[], names: readonly string[]): void {
  const word = first === 'help' ? second : first;
  if (word === undefined || word.startsWith('-') || word === 'help' || names.includes(word)) return;
  fail('QC2007', `unknown command '${word}'${suggestion(word, names)}`, undefined, { hint: `commands: ${names.join(', ')}` });
}

/** A command with what it leaves to be cleaned up: signals watched, temporary files in a folder of their own. */
async function attend(terminal: Terminal, command: Command): Promise<number> {
  const removeTemporary = startTemporaryRoot();
  const signals = watchSignals(terminal, () => {
    killChildren();
    removeTemporary();
  });
  try {
    return (await command({ terminal, signal: signals.signal })) ?? 0;
  } catch (error) {
    return failWith(terminal, signals.interruption ?? error, signals);
  } finally {
    signals.release();
    removeTemporary();
  }
}

function failWith(terminal: Terminal, error: unknown, signals?: Signals): number {
  const problems = problemsIn(error);
  if (terminal.json) terminal.document(documentOf(problems));
  else terminal.diagnose(problems);
  if (tracing() && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return signals?.exitCode ?? exitCodeFor(problems);
}

/** DEBUG=qc* shows where an error came from. */
const tracing = (): boolean => (process.env['DEBUG'] ?? '').split(/[\s,]+/).some((name) => name === '*' || name.startsWith('qc'));

/** Parsing may fail before the option is seen. */
function asksForJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  return argv.slice(0, end === -1 ? argv.length : end).includes('--json');
}

/** What is thrown outside of any command, in an event, is a bug; a reader that closes the pipe early is none. */
function reportCrashes(terminal: Terminal): void {
  process.on('uncaughtException', (error) => process.exit(failWith(terminal, error)));
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : failWith(terminal, error)));
}
