import type { TalkOptions, Terminal } from './terminal.ts';

/** How much a command says. */
export type Talk = TalkOptions;

/** What a command works with. */
export interface Io {
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
}

/** The body of a command; it gives its exit code, or nothing for 0. */
export type Command = (io: Io) => Promise<number | void>;

/** Runs the body of a command; the bodies are imported when run, so that `--help` is quick. */
export type Runner = (talk: Talk, command: Command) => Promise<void>;
