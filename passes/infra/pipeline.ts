import { fail } from '../../ir/diagnostics.ts';

/** One pass with the options that the text gives it, and the passes that it holds, if it is one that does. */
export interface PassCall {
  readonly name: string;
  readonly options: Readonly<Record<string, string>>;
  readonly inner?: readonly PassCall[];
}

/**
 *   pipeline ::= 'none' | calls
 *   calls    ::= call (',' call)*
 *   call     ::= name ('{' option (' ' option)* '}')? ('(' calls ')')?     rptq{r1=32 seed=7},os+      each-block(calibrate,rptq)
 *   option   ::= key ('=' value)?                          a key alone is a flag
 *   name     ::= [a-z] [a-z0-9+.-]*                        '+' for os+, '.' for plugin.pass
 *   value    ::= [^\s{}"]+ | '"' [^"]* '"'
 */
export function parsePipeline(text: string): readonly PassCall[] {
  if (text.trim() === 'none' || text.trim() === '') return [];
  const reader = new Reader(text);
  const calls = reader.calls();
  return reader.atEnd ? calls : reader.expected("',' or the end");
}

class Reader {
  readonly #text: string;
  #at = 0;
  constructor(text: string) {
    this.#text = text;
  }
  get atEnd(): boolean {
    this.#take(/\s*/y);
    return this.#at === this.#text.length;
  }
  calls(): readonly PassCall[] {
    const calls: PassCall[] = [];
    do calls.push(this.#call());
    while (this.#take(/\s*,/y));
    return calls;
  }
  expected(what: string): never {
    const at = this.#at;
    const place = { kind: 'text', file: '<pipeline>', line: 1, column: at + 1 } as const;
    return fail('QC2001', `expected ${what}\n  ${this.#text}\n  ${' '.repeat(at)}^`, place);
  }
  #call(): PassCall {
    const name = this.#take(/\s*([a-z][a-z0-9+.-]*)/y) ?? this.expected('a pass name');
    const options = this.#take(/\{/y) ? this.#options() : {};
    if (!this.#take(/\s*\(/y)) return { name, options };
    const inner = this.calls();
    return this.#take(/\s*\)/y) ? { name, options, inner } : this.expected("',' or ')'");
  }
  #options(): PassCall['options'] {
    const options: Record<string, string> = {};
    while (!this.#take(/\s*\}/y)) {
      const key = this.#take(/\s*([a-z][a-z0-9-]*)/y) ?? this.expected("an option or '}'");
      options[key] = this.#take(/=/y) ? this.#value(key) : '';
    }
    return options;
  }
  #value(key: string): string {
    return this.#take(/"([^"]*)"/y) ?? this.#take(/[^\s{}"]+/y) ?? this.expected(`a value for '${key}'`);
  }
  #take(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (!found) return null;
    this.#at = pattern.lastIndex;
    return found[1] ?? found[0];
  }
}

/** The text of a pipeline; `parsePipeline` reads it back. */
export const formatPipeline = (calls: readonly PassCall[]): string => (calls.length === 0 ? 'none' : calls.map(formatCall).join(','));

export function formatCall({ name, options, inner }: PassCall): string {
  const words = Object.entries(options).map(([k, v]) => (v === '' ? k : `${k}=${/[\s{}]/.test(v) ? `"${v}"` : v}`));
  const held = inner ? `(${inner.map(formatCall).join(',')})` : '';
  return `${name}${words.length === 0 ? '' : `{${words.join(' ')}}`}${held}`;
}

/** The calls and those that they hold, in the order in which they run. */
export const flattened = (calls: readonly PassCall[]): readonly PassCall[] =>
  calls.flatMap((call) => [call, ...flattened(call.inner ?? [])]);
