import { Listr, ListrLogger, PRESET_TIMER, ProcessOutput } from 'listr2';
import type { Progress } from './progress.ts';

interface Step {
  readonly title: string;
  readonly finished: Promise<void>;
  finish(): void;
  fail(error: unknown): void;
  show(text: string): void;
}

/** Every step with a spinner and, while it runs, a bar; on stderr, which the top-level option of listr2 would not do. */
export function listed(titles: readonly string[]): Progress {
  const steps = titles.map(makeStep);
  let present = -1;
  let running: Promise<unknown> = Promise.resolve();
  return {
    begin(index) {
      if (present === -1) running = start(steps).catch(() => {});
      for (; present < index; present++) steps[present]?.finish();
    },
    step: (done, total, what) => steps[present]?.show(`${bar(done, total)} ${done}/${total} ${what}`),
    async end(error) {
      if (present === -1) return;
      if (error === undefined) steps.forEach((s) => s.finish());
      else steps[present]?.fail(new Error('failed'));
      await running;
    },
  };
}

function start(steps: readonly Step[]): Promise<unknown> {
  const logger = new ListrLogger({ processOutput: new ProcessOutput(process.stderr, process.stderr) });
  const tasks = steps.map((step) => ({
    title: step.title,
    task: (_: unknown, task: { output: string }): Promise<void> => {
      step.show = (text) => {
        task.output = text;
      };
      return step.finished;
    },
  }));
  // Signals are ours: listr2 would end the process on the first.
  return new Listr(tasks, { registerSignalListeners: false, rendererOptions: { logger, timer: PRESET_TIMER } }).run();
}

function makeStep(title: string): Step {
  let finish = (): void => {};
  let fail: (error: unknown) => void = () => {};
  const finished = new Promise<void>((resolve, reject) => {
    finish = resolve;
    fail = reject;
  });
  return { title, finished, finish: () => finish(), fail: (error) => fail(error), show: () => {} };
}

const width = 24;
const bar = (done: number, total: number): string => {
  const full = Math.round((width * done) / Math.max(total, 1));
  return '█'.repeat(full) + '░'.repeat(width - full);
};
