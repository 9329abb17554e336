import { fail, type Location } from '../../ir/diagnostics.ts';
import { sizeOf, type Dim } from '../../ir/types.ts';
import type { Feeds, HostTensor } from '../../passes/infra/executor.ts';
import { arrayType, checkNames, fit, type ModelInput } from './fit.ts';
import { fromNumbers } from './host-arrays.ts';
import { atLine, type LineLocation, messageOf, readText } from './read-file.ts';
import type { SampleOptions, Source } from './source.ts';
import { checkTokens, tokenizerFor } from './tokens.ts';

/** One sample a line: `{"input_ids": [...]}` with further inputs by name, or `{"text": "..."}`. Lines are read when chosen. */
export async function jsonlSource(file: string, options: SampleOptions): Promise<Source> {
  const lines = (await readText(file)).split('\n').map((text, i) => ({ text, number: i + 1 }));
  const filled = lines.filter((line) => line.text.trim() !== '');
  return {
    samples: filled.map((line) => () => sampleOf(line.text, atLine(file, line.number), options)),
    summary: `${file}: ${filled.length} lines`,
  };
}

function sampleOf(line: string, at: LineLocation, options: SampleOptions): Feeds {
  const record = parsed(line, at);
  const arrays = isTextLine(record, options) ? encoded(record, at, options) : listed(record, at, options);
  if (arrays['input_ids']) checkTokens(numbersOf(arrays['input_ids']), options.vocabulary, at);
  return fit(arrays, options.inputs, at);
}

const numbersOf = (tensor: HostTensor): ArrayLike<number | bigint> => tensor.data;

function parsed(line: string, at: LineLocation): object {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    const message = messageOf(error);
    const position = /at position (\d+)/.exec(message)?.[1];
    return fail('QC2105', `not JSON: ${message}`, position === undefined ? at : atLine(at.file, at.line, Number(position) + 1));
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return fail('QC2105', 'a line is a JSON object', at);
  return value;
}

const isTextLine = (record: object, { inputs }: SampleOptions): record is { readonly text: unknown } =>
  'text' in record && !inputs.some(({ name }) => name === 'text');

/** Other fields of a line of text describe it (`url`, `timestamp`) and are skipped, unless they are inputs. */
function encoded(record: { readonly text: unknown }, at: Location, options: SampleOptions): Feeds {
  const both = options.inputs.find(({ name }) => name in record);
  if (both) fail('QC2105', `a line has "text" or arrays, not both: "${both.name}"`, at);
  const { text } = record;
  if (typeof text !== 'string') return fail('QC2105', '"text" is a string', at);
  const ids = tokenizerFor(options, at).encode(text, { addSpecialTokens: options.addSpecialTokens ?? false });
  if (ids.length === 0) fail('QC2105', 'the text has no tokens', at);
  const data = Int32Array.from(ids.slice(0, options.seq));
  return { input_ids: { dtype: 'i32', shape: [1, data.length], data } };
}

interface Listed {
  readonly shape: readonly number[];
  readonly numbers: readonly number[];
}

function listed(record: object, at: Location, { inputs, seq }: SampleOptions): Feeds {
  checkNames(Object.keys(record), inputs, at);
  const lists = new Map(Object.entries(record).map(([name, value]) => [name, rowOf(name, listOf(name, value, at), at)]));
  const length = lists.get('input_ids')?.numbers.length;
  const used = inputs.filter(({ name }) => lists.has(name));
  const arrays = used.map((input): [string, HostTensor] => {
    const list = lists.get(input.name)!;
    const cut = perToken.has(input.name) && list.shape.length === 1 ? cutTo(seq, input.name, list, length, at) : list;
    return [input.name, arrayOf(input, cut, at)];
  });
  return Object.fromEntries(arrays);
}

/** Inputs with one number for each token. */
const perToken: ReadonlySet<string> = new Set(['input_ids', 'attention_mask', 'token_type_ids', 'position_ids']);

/** `[[1, 2, 3]]` is the same row as `[1, 2, 3]`. */
function rowOf(name: string, list: Listed, at: Location): Listed {
  if (!perToken.has(name)) return list;
  const row = list.shape.length === 2 && list.shape[0] === 1 ? { ...list, shape: list.shape.slice(1) } : list;
  if (name === 'input_ids' && (row.shape.length !== 1 || row.numbers.length === 0))
    fail('QC2105', `"input_ids" is a list of at least one token, found the shape [${list.shape.join(',')}]`, at);
  return row;
}

function cutTo(seq: number, name: string, list: Listed, length: number | undefined, at: Location): Listed {
  const count = list.numbers.length;
  if (length !== undefined && count !== length) fail('QC2105', `"${name}" has ${count} numbers, "input_ids" ${length}`, at);
  const numbers = list.numbers.slice(0, seq);
  return { shape: [numbers.length], numbers };
}

function listOf(name: string, value: unknown, at: Location): Listed {
  const numbers: number[] = [];
  const shape = gather(value, numbers);
  return shape ? { shape, numbers } : fail('QC2105', `"${name}" is not a list of numbers, or its rows differ in length`, at);
}

/** Appends all numbers in order and gives the shape; null when the nesting is uneven or something is no number. */
function gather(value: unknown, numbers: number[]): readonly number[] | null {
  if (typeof value === 'number') {
    numbers.push(value);
    return [];
  }
  if (!Array.isArray(value)) return null;
  const items: readonly unknown[] = value;
  const shapes = items.map((item) => gather(item, numbers));
  const first = shapes[0] === undefined ? [] : shapes[0];
  if (first === null || shapes.some((shape) => shape?.join() !== first.join())) return null;
  return [items.length, ...first];
}

function arrayOf(input: ModelInput, { shape, numbers }: Listed, at: Location): HostTensor {
  const dtype = arrayType(input, at);
  const data = fromNumbers(dtype, numbers) ?? fail('QC2103', `"${input.name}" is ${dtype} in the model, and its numbers do not fit`, at);
  return { dtype, shape: batched(shape, input.shape), data };
}

/** The shape with the batch axis of the model; a flat list takes the shape that the model leaves open in one place at most. */
function batched(shape: readonly number[], declared: readonly Dim[] | null): readonly number[] {
  if (declared === null || shape.length === declared.length - 1) return [1, ...shape];
  if (shape.length !== 1 || declared.length < 2) return shape;
  const dims = declared.map((d, i) => (typeof d === 'number' ? d : i === 0 ? 1 : null));
  const known = sizeOf(dims.map((d) => d ?? 1));
  return dims.filter((d) => d === null).length > 1 ? shape : dims.map((d) => d ?? Math.floor(shape[0]! / known));
}
