import { fail } from '../../ir/diagnostics.ts';
import type { Grid } from '../../ir/quant.ts';
import type { ActivationScheme, Scheme, WeightScheme } from '../../ir/scheme.ts';
import { suggestion } from '../infra/options.ts';

const weights = (bits: number): WeightScheme => ({ bits, symmetric: false, grid: 'standard', per: 'channel' });
const activation = (bits: number, grid: Grid = 'standard', symmetric = false): ActivationScheme => ({
  bits,
  symmetric,
  grid,
  range: 'static',
});

/** Inputs and weights of the linears; of attention keys and values alone, and only if they have bits of their own. 16 bits are float. */
const plain = (w: number, a: number, kv: number | null = null): Scheme => {
  const parts = [
    ...(w === 16 ? [] : [`weights of linears at ${w} bits`]),
    ...(a === 16 ? [] : [w === 16 ? `inputs of linears at ${a} bits` : `their inputs at ${a}`]),
    ...(kv === null ? [] : [`keys and values at ${kv}`]),
  ];
  return {
    name: `w${w}a${a}${kv === null ? '' : `kv${kv}`}`,
    summary: parts.join(', '),
    weights: w === 16 ? null : weights(w),
    activations: {
      ...(a === 16 ? {} : { norm: activation(a), linear: activation(a) }),
      ...(kv === null ? {} : { key: activation(kv), value: activation(kv) }),
    },
    probabilities: false,
  };
};

/** RPTQ's own table (section 1.7 and 1.8 of docs/methods.md): norms keep at least 8 bits, the KV schemes quantize only K and V. */
const rptq = (w: number, a: number, kv: boolean): Scheme => {
  const at = (bits: number) => activation(bits, 'rptq');
  const inner = { query: at(a), key: at(a), value: at(a), linear: at(a), norm: at(Math.max(8, a)) };
  return {
    name: `rptq-w${w}a${a}${kv ? 'kv' : ''}`,
    summary: `RPTQ's ${kv ? `W${w}, K and V at ${a} bits` : `W${w}A${a}`}, on its 2^n-step grid`,
    weights: { bits: w, symmetric: false, grid: 'rptq', per: 'channel' },
    activations: a === 16 ? {} : kv ? { key: at(a), value: at(a) } : inner,
    probabilities: a !== 16 && !kv,
  };
};

/** OS+'s own configurations (section 2.4 of docs/methods.md). */
const osPlus = (name: string, summary: string, weightScheme: WeightScheme, act: ActivationScheme): Scheme => {
  const attention = act.range === 'static';
  return {
    name,
    summary,
    weights: weightScheme,
    activations: { norm: act, linear: act, ...(attention ? { query: act, key: act, value: act } : {}) },
    probabilities: attention,
  };
};

const osPlusTokens = (bits: number): Scheme =>
  osPlus(
    `os+-int${bits}-token`,
    `OS+'s INT${bits} with activations per token`,
    { bits, symmetric: false, grid: 'standard', per: 'channel' },
    { ...activation(bits), range: 'token' },
  );

/** The published schemes and the usual ones; `schemeNamed` knows others by their bits. */
export const schemes: readonly Scheme[] = [
  plain(8, 8),
  plain(8, 6),
  plain(6, 6),
  plain(4, 8),
  plain(4, 4),
  plain(4, 16),
  rptq(4, 16, false),
  rptq(4, 8, false),
  rptq(4, 4, false),
  rptq(4, 4, true),
  rptq(4, 3, true),
  rptq(3, 3, true),
  osPlus(
    'os+-int8',
    "OS+'s INT8*: symmetric, one scale for each tensor",
    { bits: 8, symmetric: true, grid: 'standard', per: 'tensor' },
    activation(8, 'standard', true),
  ),
  osPlus(
    'os+-int6',
    "OS+'s INT6: asymmetric, weights per channel",
    { bits: 6, symmetric: false, grid: 'standard', per: 'channel' },
    activation(6),
  ),
  ...[6, 5, 4].map((bits) => osPlusTokens(bits)),
  ...[6, 4].map((bits): Scheme => ({
    ...osPlusTokens(bits),
    name: `os+-int${bits}-token-disable`,
    summary: `as os+-int${bits}-token, with inputs behind gated products in float`,
    gated: 'float',
  })),
];

/** What the name of any other plain scheme is: bits of weights, of inputs and, if they are quantized, of keys and values. */
export const plainNames = 'w{2..8,16}a{3..8,16}[kv{3..8}]';
const plainName = /^w([2-8]|16)a([3-8]|16)(?:kv([3-8]))?$/;

function plainNamed(name: string): Scheme | null {
  const found = plainName.exec(name);
  if (!found || name === 'w16a16') return null;
  const [, w, a, kv] = found;
  return plain(Number(w), Number(a), kv === undefined ? null : Number(kv));
}

/** The scheme of this name, from the table or by its bits; QC2006 lists them. */
export function schemeNamed(name: string): Scheme {
  const names = schemes.map((s) => s.name);
  return (
    schemes.find((s) => s.name === name) ??
    plainNamed(name) ??
    fail('QC2006', `no scheme '${name}'${suggestion(name, names)}`, undefined, { hint: `schemes: ${[...names, plainNames].join(', ')}` })
  );
}
