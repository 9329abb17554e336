import type { ChildProcess } from 'node:child_process';
import { startChild } from './child-processes.ts';
import { packed, unpacked } from './exchange.mjs';
import { openKernels } from './kernels.ts';
import { codeOf, inTemporary, processFault } from './machine-faults.ts';
import type {
  Answer,
  Carry,
  Memory,
  OpenedSession,
  PackedTensors,
  Reply,
  Request,
  SessionSettings,
  Stepped,
  WirePort,
  WireTensors,
} from './process-messages.ts';
import { refuse, type Failure, type Subject } from './refusal.ts';
import { temporaryFolders } from './temporary-folders.ts';

/** A session in the process; what fails is a coded error at its subject. */
export interface Session {
  readonly inputs: readonly WirePort[];
  readonly outputs: readonly WirePort[];
  /** Of loading the model. */
  readonly milliseconds: number;
  run(feeds: WireTensors): Promise<WireTensors>;
  /** As `run`, but outputs that `carry` names stay in the process, and are inputs of the next step. */
  step(feeds: WireTensors, carry: Carry): Promise<{ readonly outputs: WireTensors; readonly milliseconds: number }>;
  /** As `run`, but gives the milliseconds that it took. */
  time(feeds: WireTensors): Promise<number>;
  close(): Promise<void>;
}

/**
 * The child process that holds the sessions, so that a crash of ONNX Runtime is an error and not the end of this process. Its calls
 * follow one another.
 */
export interface SessionHost {
  /** False once the process has ended, and its sessions with it. */
  readonly alive: boolean;
  /** `root`: where the side files of the model are looked for; beside the model by default. */
  open(subject: Subject, settings: SessionSettings, root?: string): Promise<Session>;
  /** Of the process, with ONNX Runtime loaded. */
  memory(subject: Subject): Promise<Memory>;
  /** Ends the process after the call that it is in; the calls after that one reject. */
  end(): Promise<void>;
  /** Ends it at once. */
  kill(): void;
}

/** A new process; it keeps this one alive only while a call waits for its answer. */
export function startSessionHost(): SessionHost {
  const folders = temporaryFolders();
  const folder = folders.make();
  const { loader } = openKernels();
  const calls = callsOf(started([folder, ...(loader === null ? [] : [loader])]), () => folders.removeAll());
  const ask = async (subject: Subject, action: 'load' | 'run', request: () => Request): Promise<Answer> => {
    const outcome = await calls.ask(request);
    return outcome.kind === 'done' ? outcome.answer : refuse(subject, action, outcome);
  };
  const open = async (subject: Subject, settings: SessionSettings, root?: string): Promise<Session> => {
    const request: Request = { kind: 'open', path: subject.path, settings, ...(root === undefined ? {} : { root }) };
    const opened = (await ask(subject, 'load', () => request)) as OpenedSession;
    const { session } = opened;
    const send = (kind: 'run' | 'time', feeds: WireTensors): Promise<Answer> =>
      ask(subject, 'run', () => ({ kind, session, feeds: inTemporary(() => packed(feeds, folder)) }));
    return {
      ...opened,
      run: async (feeds) => {
        const answer = (await send('run', feeds)) as PackedTensors;
        return inTemporary(() => unpacked(answer));
      },
      step: async (feeds, carry) => {
        const request = (): Request => ({ kind: 'step', session, carry, feeds: inTemporary(() => packed(feeds, folder)) });
        const { outputs, milliseconds } = (await ask(subject, 'run', request)) as Stepped;
        return { outputs: inTemporary(() => unpacked(outputs)), milliseconds };
      },
      time: async (feeds) => (await send('time', feeds)) as number,
      // A process that has ended holds no session any more.
      close: async () => void (await calls.ask(() => ({ kind: 'close', session }))),
    };
  };
  return {
    get alive() {
      return calls.alive();
    },
    open,
    memory: async (subject) => (await ask(subject, 'load', () => ({ kind: 'memory' }))) as Memory,
    end: calls.end,
    kill: calls.kill,
  };
}

function started(args: readonly string[]): ChildProcess {
  try {
    return startChild(args);
  } catch (error) {
    throw processFault(String(error), codeOf(error));
  }
}

type Outcome = { readonly kind: 'done'; readonly answer: Answer } | Failure;

interface Calls {
  /** Sends the request when those before it are answered, which it is made for only then. */
  ask(request: () => Request): Promise<Outcome>;
  alive(): boolean;
  end(): Promise<void>;
  kill(): void;
}

const closed: Failure = { kind: 'failed', message: 'the executor is closed', code: null };

function callsOf(child: ChildProcess, afterwards: () => void): Calls {
  let refusal: Failure | null = null;
  let answer: ((outcome: Outcome) => void) | null = null;
  let last: Promise<unknown> = Promise.resolve();

  const keepAlive = (): void => {
    child.ref();
    child.channel?.ref();
  };
  const letEnd = (): void => {
    child.unref();
    child.channel?.unref();
  };
  const settle = (outcome: Outcome): void => {
    const waiting = answer;
    answer = null;
    letEnd();
    waiting?.(outcome);
  };
  const ended = new Promise<void>((resolve) => {
    const over = (failure: Failure, next: Failure): void => {
      refusal ??= next;
      settle(failure);
      afterwards();
      resolve();
    };
    child.once('close', (exitCode, signal) => over(refusal ?? { kind: 'crashed', exitCode, signal }, { kind: 'lost' }));
    child.on('error', (error) => over(unstarted(error), unstarted(error)));
  });
  child.on('message', (reply: Reply) => settle(reply));
  letEnd();

  const send = (request: () => Request): Promise<Outcome> =>
    new Promise((resolve) => {
      if (refusal) return resolve(refusal);
      const message = request();
      answer = resolve;
      keepAlive();
      // A process that is gone says so itself.
      child.send(message, () => {});
    });
  const kill = (): void => {
    refusal ??= closed;
    child.kill('SIGKILL');
  };
  return {
    ask: (request) => {
      const outcome = last.then(() => send(request));
      last = outcome.catch(() => {});
      return outcome;
    },
    alive: () => refusal === null,
    end: async () => {
      refusal ??= closed;
      await last;
      keepAlive();
      kill();
      await ended;
    },
    kill,
  };
}

const unstarted = (error: Error): Failure => ({ kind: 'unstarted', message: error.message, code: codeOf(error) });
