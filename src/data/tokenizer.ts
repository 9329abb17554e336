import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fail } from '../../ir/diagnostics.ts';
import { inData, messageOf, readText } from './read-file.ts';

export interface EncodeOptions {
  /** Whether the tokens that the tokenizer puts around a text (`<s>`, `[CLS]`) are added. */
  readonly addSpecialTokens: boolean;
}

export interface TextTokenizer {
  encode(text: string, options: EncodeOptions): readonly number[];
}

/** One that also makes text of tokens, without the special ones. */
export interface Tokenizer extends TextTokenizer {
  decode(ids: readonly number[]): string;
}

/** The tokenizer of a `tokenizer.json`, with the `tokenizer_config.json` beside it if there is one. */
export async function loadTokenizer(path: string): Promise<Tokenizer> {
  const model = await readObject(path);
  const configPath = join(dirname(path), 'tokenizer_config.json');
  const config = (await exists(configPath)) ? await readObject(configPath) : {};
  // Loaded late: most runs of qc read no text.
  const library = await import('@huggingface/tokenizers');
  const tokenizer: Encoder = built(() => new library.Tokenizer(model, config), path);
  return {
    encode: (text, { addSpecialTokens }) => {
      const { ids } = tokenizer.encode(text, { add_special_tokens: addSpecialTokens });
      const lost = ids.findIndex((id) => !Number.isInteger(id));
      return lost === -1 ? ids : fail('QC2104', 'the tokenizer has no id for a part of the text, and no unknown token', inData(path));
    },
    // The package refuses an empty list.
    decode: (ids) => (ids.length === 0 ? '' : tokenizer.decode([...ids], { skip_special_tokens: true })),
  };
}

/** The package's own types do not resolve from an ES module. */
interface Encoder {
  encode(text: string, options: { readonly add_special_tokens: boolean }): { readonly ids: readonly number[] };
  decode(ids: number[], options: { readonly skip_special_tokens: boolean }): string;
}

function built<T>(make: () => T, path: string): T {
  try {
    return make();
  } catch (error) {
    return fail('QC2105', `not a tokenizer that can be used: ${messageOf(error)}`, inData(path));
  }
}

async function readObject(path: string): Promise<object> {
  const text = await readText(path);
  const value: unknown = built(() => JSON.parse(text), path);
  return typeof value === 'object' && value !== null ? value : fail('QC2105', 'expected a JSON object', inData(path));
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
