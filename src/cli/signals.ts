import { diagnostic, QcError } from '../../ir/diagnostics.ts';
import type { Terminal } from './terminal.ts';

const numbers = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;
type Name = keyof typeof numbers;

/** The signals that a command hears while it runs. */
export interface Signals {
  /** Aborted by the first of them. */
  readonly signal: AbortSignal;
  /** QC5002 once there was one. */
  readonly interruption: QcError | null;
  /** 130 for Ctrl-C; undefined while there was none. */
  readonly exitCode: number | undefined;
  release(): void;
}

/** The first signal asks the command to stop, which cleans up; the second ends the process after `cleanUp`. */
export function watchSignals(terminal: Terminal, cleanUp: () => void): Signals {
  const controller = new AbortController();
  let first: Name | null = null;
  const interruption = new QcError([diagnostic('QC5002', 'interrupted; nothing was written')]);
  const release = (): void => {
    for (const name of Object.keys(numbers)) process.off(name, heard);
  };
  const heard = (name: Name): void => {
    if (first !== null) {
      // By the signal's own default, as the shell expects of a process that Ctrl-C ends.
      release();
      cleanUp();
      process.kill(process.pid, name);
      return;
    }
    first = name;
    terminal.note('stopping; once more to stop at once');
    controller.abort(interruption);
  };
  for (const name of Object.keys(numbers)) process.on(name, heard);
  return {
    signal: controller.signal,
    get interruption() {
      return first === null ? null : interruption;
    },
    get exitCode() {
      return first === null ? undefined : 128 + numbers[first];
    },
    release,
  };
}
