import { fail } from '../../ir/index.ts';
import { messageOf, readText } from '../data/read-file.ts';
import type { Extents, Layer } from './extents.ts';

/** What the families of Hugging Face's `config.json` have, beside what the fields say. */
interface Family {
  /** Whether the MLP multiplies two values of the inner width. */
  readonly gated?: true;
  /** Which linears have biases. */
  readonly biases: 'all' | 'qkv' | 'none';
  /** Parameters of a norm: gain and bias, or gain alone. */
  readonly norm: 2 | 1;
  readonly normsOfLayer: 2 | 4;
  /** Whether queries and keys of each head are normalized. */
  readonly headNorms?: true;
  /** Rows of the table of learned positions beyond those that the model takes; missing where it has none. */
  readonly positions?: number;
  /** Whether embeddings are normalized. */
  readonly embeddingNorm?: true;
  /** Whether the head is the table of embeddings, where the file does not say. */
  readonly tied: boolean;
}

const gpt: Family = { biases: 'all', norm: 2, normsOfLayer: 2, tied: true };
const llama: Family = { gated: true, biases: 'none', norm: 1, normsOfLayer: 2, tied: false };

const families: Readonly<Record<string, Family>> = {
  opt: { ...gpt, positions: 2 },
  gpt2: { ...gpt, positions: 0 },
  gpt_neox: { ...gpt, tied: false },
  bloom: { ...gpt, embeddingNorm: true },
  llama,
  mistral: llama,
  phi3: llama,
  qwen2: { ...llama, biases: 'qkv' },
  qwen3: { ...llama, headNorms: true },
  gemma: { ...llama, tied: true },
  gemma2: { ...llama, tied: true, normsOfLayer: 4 },
};

/** Names of fields that mean the same, the usual one first. */
const fields = {
  hidden: ['hidden_size', 'n_embd'],
  layers: ['num_hidden_layers', 'n_layer'],
  heads: ['num_attention_heads', 'n_head'],
  keyHeads: ['num_key_value_heads'],
  headSize: ['head_dim'],
  inner: ['intermediate_size', 'ffn_dim', 'n_inner'],
  vocabulary: ['vocab_size'],
  positions: ['max_position_embeddings', 'n_positions'],
} as const;

/** Reads a `config.json` of Hugging Face. QC2112 for a file that is none, a family that is not known, or a field that is missing. */
export async function extentsOfConfig(path: string): Promise<Extents> {
  const config = await readConfig(path);
  const kind = String(config['model_type']);
  const family = families[kind];
  if (!family) {
    const hint = `known are ${Object.keys(families).join(', ')}; or give the ONNX model itself`;
    return fail('QC2112', `${path}: no rule for the model_type '${kind}'`, undefined, { hint });
  }
  const find = (name: keyof typeof fields): number | null => numberAmong(config, fields[name]);
  const need = (name: keyof typeof fields): number =>
    find(name) ?? fail('QC2112', `${path} lacks a whole number '${fields[name].join("' or '")}'`);
  const [hidden, heads, layers] = [need('hidden'), need('heads'), need('layers')];
  const size = find('headSize') ?? hidden / heads;
  // BLOOM and GPT-2 leave out an inner width of four times the hidden one.
  const inner = find('inner') ?? (family.gated ? need('inner') : 4 * hidden);
  const [query, key] = [heads * size, (find('keyHeads') ?? heads) * size];
  const linears = [
    [hidden, query],
    [hidden, key],
    [hidden, key],
    [query, hidden],
    ...(family.gated ? [[hidden, inner]] : []),
    [hidden, inner],
    [inner, hidden],
  ].map(([rows, columns]) => ({ rows: rows!, columns: columns! }));
  const layer: Layer = { hidden, heads, query, key, value: key, inner: family.gated ? 2 * inner : inner };
  const ofLayer = biasesOf(family, linears) + family.normsOfLayer * family.norm * hidden + (family.headNorms ? 2 * size : 0);
  const tied = typeof config['tie_word_embeddings'] === 'boolean' ? config['tie_word_embeddings'] : family.tied;
  const tables = need('vocabulary') * (tied ? 1 : 2) + (family.positions === undefined ? 0 : need('positions') + family.positions);
  const norms = family.norm * hidden * (family.embeddingNorm ? 2 : 1);
  return {
    linears: Array.from({ length: layers }, () => linears).flat(),
    others: layers * ofLayer + tables * hidden + norms,
    layers: Array.from({ length: layers }, () => layer),
    attentionsLeft: 0,
  };
}

function biasesOf({ biases }: Family, linears: Extents['linears']): number {
  const biased = { all: linears, qkv: linears.slice(0, 3), none: [] }[biases];
  return biased.reduce((n, l) => n + l.columns, 0);
}

async function readConfig(path: string): Promise<Readonly<Record<string, unknown>>> {
  const text = await readText(path);
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch (error) {
    return fail('QC2112', `${path}: ${messageOf(error)}`);
  }
  return typeof found === 'object' && found !== null && 'model_type' in found
    ? { ...found }
    : fail('QC2112', `${path} has no 'model_type'`);
}

function numberAmong(config: Readonly<Record<string, unknown>>, names: readonly string[]): number | null {
  const found = names.map((name) => config[name]).find((x) => Number.isSafeInteger(x) && Number(x) > 0);
  return found === undefined ? null : Number(found);
}
