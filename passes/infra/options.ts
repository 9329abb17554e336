import { fail } from '../../ir/diagnostics.ts';

/** One option of a pass: what `qc passes NAME` prints and how its text is read. */
export interface Option<T> {
  readonly describe: string;
  readonly kind: string;
  readonly fallback: T;
  readonly read: (text: string) => T | Expected;
}
export type Options = Readonly<Record<string, Option<unknown>>>;
export type OptionValues<S extends Options> = { readonly [K in keyof S]: S[K] extends Option<infer T> ? T : never };

/** What an option would have accepted. */
class Expected {
  readonly what: string;
  constructor(what: string) {
    this.what = what;
  }
}

const option = <T>(describe: string, kind: string, fallback: T, read: Option<T>['read']): Option<T> => ({ describe, kind, fallback, read });

export const int = (describe: string, fallback: number, least = Number.MIN_SAFE_INTEGER): Option<number> =>
  option(describe, 'integer', fallback, (text) => {
    const x = Number(text);
    return /^[+-]?\d+$/.test(text) && x >= least
      ? x
      : new Expected(least === Number.MIN_SAFE_INTEGER ? 'an integer' : `an integer of at least ${least}`);
  });

/** A number, or nothing when the option is not given. */
export const float = <F extends number | null>(describe: string, fallback: F, least = -Infinity): Option<number | F> =>
  option<number | F>(describe, 'number', fallback, (text) => {
    const x = Number(text);
    return text !== '' && Number.isFinite(x) && x >= least
      ? x
      : new Expected(least === -Infinity ? 'a number' : `a number of at least ${least}`);
  });

export const flag = (describe: string, fallback: boolean): Option<boolean> =>
  option(describe, 'flag', fallback, (text) =>
    text === '' || text === 'true' ? true : text === 'false' ? false : new Expected('true or false'),
  );

export const text = (describe: string, fallback: string): Option<string> => option(describe, 'text', fallback, (given) => given);

export const choice = <const C extends readonly string[]>(describe: string, choices: C, fallback: C[number]): Option<C[number]> =>
  option<C[number]>(describe, choices.join('|'), fallback, (given) =>
    choices.includes(given) ? given : new Expected(`one of ${choices.join(', ')}${suggestion(given, choices)}`),
  );

/** Reads the options that a pipeline gives to a pass; QC2002 and QC2003 name the pass, the option and what it takes. */
export function readOptions<S extends Options>(pass: string, spec: S, given: Readonly<Record<string, string>>): OptionValues<S> {
  const names = Object.keys(spec);
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(spec, key))
      fail('QC2002', `pass ${pass} has no option '${key}'; it takes ${names.join(', ') || 'none'}${suggestion(key, names)}`);
  }
  const entries = Object.entries(spec).map(([key, o]) => {
    const written = given[key];
    const value = written === undefined ? o.fallback : o.read(written);
    if (value instanceof Expected) fail('QC2003', `${pass}{${key}=${written}}: expected ${value.what}`);
    return [key, value];
  });
  return Object.fromEntries(entries) as OptionValues<S>;
}

/** `; did you mean 'clusters'?` when a known word is near, else nothing. */
export function suggestion(word: string, known: readonly string[]): string {
  const nearest = known.map((k) => [distance(word, k), k] as const).sort(([a], [b]) => a - b)[0];
  return nearest && nearest[0] <= Math.max(1, Math.floor(nearest[1].length / 3)) ? `; did you mean '${nearest[1]}'?` : '';
}

/** Edits (insert, delete, change) between two words. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}
