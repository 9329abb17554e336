/** A sum of products of symbols, as factors of monomials: `2 + 4*batch*seq` is { '': 2, 'batch*seq': 4 }. No factor is 0. */
export type Polynomial = ReadonlyMap<string, number>;

const zero: Polynomial = new Map();

/** Reads what `format` wrote. What stands in parentheses is one symbol, as `min(48,seq)` is. */
export function parse(d: number | string): Polynomial {
  if (typeof d === 'number') return d === 0 ? zero : new Map([['', d]]);
  return partsOf(d, ' + ').map(parseProduct).reduce(sum, zero);
}

function parseProduct(text: string): Polynomial {
  const parts = partsOf(text, '*');
  const isNumber = (p: string): boolean => /^-?\d+$/.test(p);
  const factor = parts.filter(isNumber).reduce((n, p) => n * Number(p), 1);
  return factor === 0 ? zero : new Map([[monomial(parts.filter((p) => !isNumber(p))), factor]]);
}

/** A text cut at each separator that is not in parentheses. */
function partsOf(text: string, separator: string): readonly string[] {
  const parts = [''];
  let depth = 0;
  for (let i = 0; i < text.length;) {
    const cuts = depth === 0 && text.startsWith(separator, i);
    if (text[i] === '(') depth++;
    if (text[i] === ')') depth--;
    if (cuts) parts.push('');
    else parts.push(parts.pop()! + text[i]);
    i += cuts ? separator.length : 1;
  }
  return parts;
}

const monomial = (symbols: readonly string[]): string => [...symbols].sort().join('*');
const symbolsOf = (m: string): readonly string[] => (m === '' ? [] : partsOf(m, '*'));

/** `2 + 4*batch*seq`, with its monomials in order; a number where there are no symbols. */
export function format(p: Polynomial): number | string {
  const terms = [...p].sort(([a], [b]) => (a < b ? -1 : 1));
  const [first] = terms;
  if (!first) return 0;
  if (terms.length === 1 && first[0] === '') return first[1];
  return terms.map(([m, factor]) => (m === '' ? String(factor) : factor === 1 ? m : `${factor}*${m}`)).join(' + ');
}

export function sum(a: Polynomial, b: Polynomial): Polynomial {
  const all = new Map(a);
  for (const [m, factor] of b) all.set(m, (all.get(m) ?? 0) + factor);
  return new Map([...all].filter(([, factor]) => factor !== 0));
}

export function product(a: Polynomial, b: Polynomial): Polynomial {
  return [...a].reduce((all, term) => sum(all, timesTerm(b, term)), zero);
}

/** p with another sum in the place of a symbol; null where a longer symbol holds it. */
export function substituted(p: Polynomial, symbol: string, by: Polynomial): Polynomial | null {
  const holds = (s: string): boolean => s !== symbol && s.split(/[^\w.?]+/).includes(symbol);
  if ([...p.keys()].some((m) => symbolsOf(m).some(holds))) return null;
  const replaced = ([m, factor]: Term): Polynomial =>
    symbolsOf(m).reduce<Polynomial>((all, s) => product(all, s === symbol ? by : new Map([[s, 1]])), new Map([['', factor]]));
  return [...p].map(replaced).reduce(sum, zero);
}

type Term = readonly [monomial: string, factor: number];

const timesTerm = (p: Polynomial, [by, factor]: Term): Polynomial =>
  new Map([...p].map(([m, f]) => [monomial([...symbolsOf(m), ...symbolsOf(by)]), f * factor]));

/** a / b where b divides it, else null: the long division by the leading terms. */
export function quotient(a: Polynomial, b: Polynomial): Polynomial | null {
  if (b.size === 0) return null;
  let [rest, found] = [a, zero];
  while (rest.size > 0) {
    const term = termQuotient(leading(rest), leading(b));
    if (!term) return null;
    found = sum(found, new Map([term]));
    rest = sum(rest, timesTerm(b, [term[0], -term[1]]));
  }
  return found;
}

function termQuotient([a, factor]: Term, [b, divisor]: Term): Term | null {
  const left = [...symbolsOf(a)];
  for (const s of symbolsOf(b)) {
    const at = left.indexOf(s);
    if (at < 0) return null;
    left.splice(at, 1);
  }
  return factor % divisor === 0 ? [monomial(left), factor / divisor] : null;
}

/** The first term in the order by degree and then by the powers of the symbols in alphabetical order, which products keep. */
function leading(p: Polynomial): Term {
  return [...p].reduce((best, term) => (isBefore(symbolsOf(term[0]), symbolsOf(best[0])) ? term : best));
}

function isBefore(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length) return a.length > b.length;
  const at = a.findIndex((s, i) => s !== b[i]);
  return at >= 0 && a[at]! < b[at]!;
}
