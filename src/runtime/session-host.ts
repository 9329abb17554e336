import { Worker } from 'node:worker_threads';
import type { Answer, Call, OpenedSession, Reply, Request, SessionSettings, WireTensors } from './messages.ts';

/** The worker thread that holds the sessions; every call rejects with an `Error` that has ONNX Runtime's message. */
export interface SessionHost {
  open(path: string, settings: SessionSettings): Promise<OpenedSession>;
  /** Gives the arrays of the feeds away. */
  run(session: number, feeds: WireTensors): Promise<WireTensors>;
  /** As `run`, but gives the milliseconds that it took. */
  time(session: number, feeds: WireTensors): Promise<number>;
  close(session: number): Promise<void>;
  /** Ends the worker after the call that it is in; the calls after that one reject. */
  end(): Promise<void>;
}

interface Waiting {
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** Words of the memory that both threads see; session-worker.mjs has the same. */
const slots = { stopping: 0, busy: 1 } as const;

/** A new worker; it keeps the process alive only while a call waits for its answer. */
export function startSessionHost(): SessionHost {
  const state = new Int32Array(new SharedArrayBuffer(8));
  // The flags of this process are not the worker's: `--eval`, `--input-type` or a loader for TypeScript would break or slow it.
  const worker = new Worker(new URL('./session-worker.mjs', import.meta.url), { workerData: state, execArgv: [] });
  const stop = (): void => stopAndWait(state);
  // A thread that failed never says that it is idle. This comes before the calls are told, who may end the process at once.
  for (const event of ['error', 'exit']) worker.on(event, () => process.off('exit', stop));
  process.on('exit', stop);
  const calls = waitingCalls(worker);
  const { ask } = calls;
  return {
    open: async (path, settings) => (await ask({ kind: 'open', path, settings })) as OpenedSession,
    run: async (session, feeds) => (await ask({ kind: 'run', session, feeds }, buffersOf(feeds))) as WireTensors,
    time: async (session, feeds) => (await ask({ kind: 'time', session, feeds }, buffersOf(feeds))) as number,
    close: async (session) => void (await ask({ kind: 'close', session })),
    end: async () => {
      Atomics.store(state, slots.stopping, 1);
      await calls.close();
      await worker.terminate();
    },
  };
}

const buffersOf = (feeds: WireTensors): readonly ArrayBuffer[] =>
  Object.values(feeds).flatMap(({ data: { buffer } }) => (buffer instanceof ArrayBuffer ? [buffer] : []));

/** A thread that ends inside onnxruntime-node aborts the process, so its end waits for the call that it is in. */
function stopAndWait(state: Int32Array): void {
  Atomics.store(state, slots.stopping, 1);
  while (Atomics.load(state, slots.busy) === 1) Atomics.wait(state, slots.busy, 1);
}

interface WaitingCalls {
  ask(request: Request, transfer?: readonly ArrayBuffer[]): Promise<Answer>;
  /** Takes no more calls, and resolves when those that wait have their answers. */
  close(): Promise<void>;
}

function waitingCalls(worker: Worker): WaitingCalls {
  const waiting = new Map<number, Waiting>();
  let count = 0;
  let dead: Error | null = null;
  let idle = (): void => {};
  const take = (call: number): Waiting | undefined => {
    const found = waiting.get(call);
    waiting.delete(call);
    if (waiting.size > 0) return found;
    worker.unref();
    idle();
    return found;
  };
  const die = (error: Error): void => {
    dead ??= error;
    for (const call of waiting.keys()) take(call)?.reject(dead);
  };
  worker.unref();
  worker.on('message', (reply: Reply) => {
    const caller = take(reply.call);
    if (reply.kind === 'done') caller?.resolve(reply.answer);
    else caller?.reject(new Error(reply.message));
  });
  worker.on('error', die);
  worker.on('messageerror', die);
  worker.on('exit', (code) => die(new Error(`the thread of ONNX Runtime has ended (code ${code})`)));
  return {
    ask: (request, transfer = []) =>
      new Promise((resolve, reject) => {
        if (dead) return reject(dead);
        const call: Call = { call: ++count, request };
        worker.postMessage(call, transfer);
        waiting.set(call.call, { resolve, reject });
        worker.ref();
      }),
    close: () => {
      dead ??= new Error('the executor is closed');
      return new Promise((resolve) => (waiting.size === 0 ? resolve() : (idle = resolve)));
    },
  };
}
