import { fail, type Location } from '../diagnostics.ts';

/** Tokens of `.qcir`: quoted strings, `%names`, words and single punctuation marks. One token of lookahead. */
export class Lexer {
  readonly #text: string;
  readonly #file: string;
  #at = 0;
  #start = 0;
  peek = '';
  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
    this.#next();
  }
  /** The place of the token that `peek` shows. */
  get location(): Location {
    const before = this.#text.slice(0, this.#start).split('\n');
    return { kind: 'text', file: this.#file, line: before.length, column: before.at(-1)!.length + 1 };
  }
  fail(message: string): never {
    return fail('QC1501', message, this.location);
  }
  word(what = 'a word'): string {
    if (!/^["\w.*+?/-]/.test(this.peek)) this.fail(`expected ${what}, found '${this.peek || 'end of text'}'`);
    return this.#next();
  }
  /** A `%name`, without the mark and the quotes. */
  name(): string {
    if (!this.peek.startsWith('%')) this.fail(`expected a value such as %x, found '${this.peek || 'end of text'}'`);
    const token = this.#next().slice(1);
    return token.startsWith('"') ? this.unquote(token) : token;
  }
  unquote(token: string): string {
    try {
      return String(JSON.parse(token));
    } catch {
      return this.fail(`malformed string ${token}`);
    }
  }
  accept(token: string): boolean {
    if (this.peek !== token) return false;
    this.#next();
    return true;
  }
  expect(token: string): void {
    if (!this.accept(token)) this.fail(`expected '${token}', found '${this.peek || 'end of text'}'`);
  }
  /** `open item, item, ... close`. */
  list(open: string, close: string, item: () => void): void {
    this.expect(open);
    if (this.accept(close)) return;
    do item();
    while (this.accept(','));
    this.expect(close);
  }
  #next(): string {
    const was = this.peek;
    const skip = /(?:\s|\/\/[^\n]*)*/y;
    skip.lastIndex = this.#at;
    skip.exec(this.#text);
    this.#start = skip.lastIndex;
    const token = /%?"(?:[^"\\]|\\.)*"|%[\w./-]+|[\w.*+?-][\w.*+?/-]*|[^\s\w]/y;
    token.lastIndex = this.#start;
    this.peek = token.exec(this.#text)?.[0] ?? '';
    this.#at = this.#start + this.peek.length;
    return was;
  }
}
