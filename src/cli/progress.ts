import type { Terminal } from './terminal.ts';

/** Says on stderr how far a sequence of steps is. */
export interface Progress {
  /** The step of this index begins, and those before it are done. */
  begin(index: number): void;
  /** How far the present step is. */
  readonly step: (done: number, total: number, what: string) => void;
  /** Nothing more is said; with an error, the present step failed. */
  end(error?: unknown): Promise<void>;
}

/** A list with a bar on a terminal, lines elsewhere, nothing where nothing is to be said. */
export async function startProgress(titles: readonly string[], terminal: Terminal): Promise<Progress> {
  if (!terminal.talks) return silent;
  if (!animates()) return lines(titles, terminal);
  const { listed } = await import('./progress-list.ts');
  return listed(titles);
}

/** Some terminals report no width, and the list would break into letters. */
const animates = (): boolean => process.stderr.isTTY && process.stderr.columns > 20 && process.env['TERM'] !== 'dumb' && !process.env['CI'];

const silent: Progress = { begin() {}, step() {}, end: async () => {} };

/** Lines about one step, at most so many and so often. */
const most = 4;
const interval = 5000;

function lines(titles: readonly string[], terminal: Terminal): Progress {
  let said = 0;
  let last = 0;
  const begin = (index: number): void => {
    terminal.note(`[${index + 1}/${titles.length}] ${titles[index]}`);
    said = 0;
    last = performance.now();
  };
  return {
    begin,
    step(done, total, what) {
      if (said === most || done === total || performance.now() - last < interval) return;
      terminal.note(`  ${done} of ${total} ${what}`);
      said++;
      last = performance.now();
    },
    end: async () => {},
  };
}
