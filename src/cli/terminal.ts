import pc from 'picocolors';
import { formatDiagnostic, type Diagnostic } from '../../ir/diagnostics.ts';

/** What is said how. */
export interface TalkOptions {
  readonly json?: boolean | undefined;
  readonly quiet?: boolean | undefined;
}

type Colors = ReturnType<typeof pc.createColors>;

/** stdout holds data and nothing else; everything said beside it goes to stderr. */
export class Terminal {
  readonly json: boolean;
  readonly quiet: boolean;
  /** Colours of stdout and of stderr; either may be a pipe. */
  readonly color: Colors = colorsOf(process.stdout);
  readonly talkColor: Colors = colorsOf(process.stderr);
  constructor({ json = false, quiet = false }: TalkOptions) {
    this.json = json;
    this.quiet = quiet;
  }
  /** Whether progress and notes are wanted. */
  get talks(): boolean {
    return !this.json && !this.quiet;
  }
  data(text: string): void {
    process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  }
  document(value: unknown): void {
    this.data(JSON.stringify(value, null, 2));
  }
  note(text: string): void {
    if (this.talks) process.stderr.write(`${text}\n`);
  }
  /**
   * Says diagnostics on stderr: a few of each warning stand for all. Under --quiet it says only errors, under --json nothing, since the
   * document holds them.
   */
  diagnose(problems: readonly Diagnostic[]): void {
    if (this.json) return;
    for (const [shown, more] of grouped(this.quiet ? problems.filter((d) => d.severity === 'error') : problems)) {
      for (const d of shown) process.stderr.write(`${this.#painted(d)}\n`);
      if (more > 0) process.stderr.write(`${this.talkColor.dim(`... and ${more} more ${shown[0]!.code}`)}\n`);
    }
  }
  #painted(d: Diagnostic): string {
    const { red, yellow, bold } = this.talkColor;
    const head = `${d.severity} ${d.code}`;
    return formatDiagnostic(d).replace(head, () => bold(d.severity === 'error' ? red(head) : yellow(head)));
  }
}

const shownOfEach = 3;

/** Errors one by one; warnings and notes by code. */
function grouped(problems: readonly Diagnostic[]): readonly (readonly [readonly Diagnostic[], number])[] {
  const groups = new Map<string, Diagnostic[]>();
  problems.forEach((d, i) => {
    const key = d.severity === 'error' ? String(i) : d.code;
    groups.set(key, [...(groups.get(key) ?? []), d]);
  });
  return [...groups.values()].map((all) => [all.slice(0, shownOfEach), Math.max(0, all.length - shownOfEach)] as const);
}

/** picocolors itself looks at stdout alone. */
function colorsOf(stream: NodeJS.WriteStream): Colors {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  return pc.createColors(!NO_COLOR && (!!FORCE_COLOR || (stream.isTTY && TERM !== 'dumb')));
}
