import { fail } from '../../ir/diagnostics.ts';

/** One pass with the options that the text gives it. */
export interface PassCall {
  readonly name: string;
  readonly options: Readonly<Record<string, string>>;
}

/**
 *   pipeline ::= 'none' | call (',' call)*
 *   call     ::= name ('{' option (' ' option)* '}')?      rptq{clusters=32 seed=7},os+
 *   option   ::= key ('=' value)?                          a key alone is a flag
 *   name     ::= [a-z] [a-z0-9+.-]*                        '+' for os+, '.' for plugin.pass
 *   value    ::= [^\s{}"]+ | '"' [^"]* '"'
 */
export function parsePipeline(text: string): readonly PassCall[] {
  if (text.trim() === 'none' || text.trim() === '') return [];
  const calls: PassCall[] = [];
  let at = 0;
  const take = (pattern: RegExp): string | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (!found) return null;
    at = pattern.lastIndex;
    return found[1] ?? found[0];
  };
  const expected = (what: string): never =>
    fail('QC2001', `expected ${what}\n  ${text}\n  ${' '.repeat(at)}^`, { kind: 'text', file: '<pipeline>', line: 1, column: at + 1 });
  do {
    const name = take(/\s*([a-z][a-z0-9+.-]*)/y) ?? expected('a pass name');
    const options: Record<string, string> = {};
    if (take(/\{/y)) {
      while (!take(/\s*\}/y)) {
        const key = take(/\s*([a-z][a-z0-9-]*)/y) ?? expected("an option or '}'");
        options[key] = take(/=/y) ? (take(/"([^"]*)"/y) ?? take(/[^\s{}"]+/y) ?? expected(`a value for '${key}'`)) : '';
      }
    }
    calls.push({ name, options });
  } while (take(/\s*,/y));
  take(/\s*/y);
  return at === text.length ? calls : expected("',' or the end");
}

/** The text of a pipeline; `parsePipeline` reads it back. */
export const formatPipeline = (calls: readonly PassCall[]): string => (calls.length === 0 ? 'none' : calls.map(formatCall).join(','));

export function formatCall({ name, options }: PassCall): string {
  const inner = Object.entries(options).map(([k, v]) => (v === '' ? k : `${k}=${/[\s{}]/.test(v) ? `"${v}"` : v}`));
  return inner.length === 0 ? name : `${name}{${inner.join(' ')}}`;
}
