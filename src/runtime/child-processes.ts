import { fork, type ChildProcess } from 'node:child_process';

/**
 * Has glibc give blocks of a megabyte and more back to the system as soon as they are free. Unless told so it takes that size to be that of the
 * largest block freed so far, up to 32 MB, and the weights of closed sessions leave holes in its heap.
 */
const returningMemory = { MALLOC_MMAP_THRESHOLD_: String(2 ** 20) };

/** Those that run now: the end of this process is theirs too. */
const running = new Set<ChildProcess>();

/**
 * A process of ONNX Runtime that does as session-process.mjs says. It ends with this process; the arguments are
 * those of the script.
 */
export function startChild(args: readonly string[]): ChildProcess {
  const child = fork(new URL('./session-process.mjs', import.meta.url), args, {
    serialization: 'advanced',
    // Our standard output holds data and nothing else.
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    // The flags of this process are not the child's: `--eval`, `--input-type` or a loader for TypeScript would break or slow it.
    execArgv: [],
    env: { ...returningMemory, ...process.env },
  });
  // Before the temporary folders are removed, into which a child may be writing.
  if (running.size === 0) process.prependListener('exit', killChildren);
  running.add(child);
  const forget = (): void => {
    running.delete(child);
    if (running.size === 0) process.off('exit', killChildren);
  };
  child.on('close', forget).on('error', forget);
  return child;
}

/** For an end that must not wait. They have nothing to clean up: what they write lies in temporary folders of this process. */
export function killChildren(): void {
  for (const child of running) child.kill('SIGKILL');
}
