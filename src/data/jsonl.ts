import { fail, type Location } from '../../ir/diagnostics.ts';
import { sizeOf, type Dim } from '../../ir/types.ts';
import type { Feeds, HostTensor } from '../../passes/infra/executor.ts';
import { arrayType, fit } from './fit.ts';
import { fromNumbers } from './host-arrays.ts';
import { pastIn } from './implied.ts';
import { checkNames, requireTokens, roleOf, type ModelInput, type ModelInputs } from './inputs.ts';
import { batchOf, checkPositions, sampleLength, shorterSeq, tokensIn } from './length.ts';
import { atLine, type LineLocation, messageOf, readText } from './read-file.ts';
import type { SampleOptions, Source } from './source.ts';
import { checkTokens, tokenizerFor } from './tokens.ts';

/** One sample a line: `{"input_ids": [...]}` with further inputs by name, or `{"text": "..."}`. Lines are read when chosen. */
export async function jsonlSource(file: string, options: SampleOptions): Promise<Source> {
  const lines = (await readText(file)).split('\n').map((text, i) => ({ text, number: i + 1 }));
  const filled = lines.filter((line) => line.text.trim() !== '');
  const seq = sampleLength(options);
  return {
    samples: filled.map((line) => () => sampleOf(line.text, atLine(file, line.number), { ...options, seq })),
    summary: `${file}: ${filled.length} ${filled.length === 1 ? 'line, which is one sample' : 'lines, one sample each'}`,
    seqFor: null,
  };
}

interface LineOptions extends SampleOptions {
  readonly seq: number;
}

function sampleOf(line: string, at: LineLocation, options: LineOptions): Feeds {
  const record = parsed(line, at);
  const arrays = isTextLine(record, options) ? encoded(record, at, options) : listed(record, at, options);
  const { tokens } = options.inputs;
  const ids = tokens && arrays[tokens.name];
  if (ids) checkTokens(ids.data, options.vocabulary, at);
  const sample = fit(arrays, options.inputs, at);
  checkPositions(tokensIn(sample, options.inputs), options.positions ?? null, shorterSeq, at);
  return sample;
}

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
  'text' in record && !inputs.all.some(({ name }) => name === 'text');

/** Other fields of a line of text describe it (`url`, `timestamp`) and are skipped, unless they are inputs. */
function encoded(record: { readonly text: unknown }, at: Location, options: LineOptions): Feeds {
  const both = options.inputs.all.find(({ name }) => name in record);
  if (both) fail('QC2105', `a line has "text" or arrays, not both: "${both.name}"`, at);
  const { text } = record;
  if (typeof text !== 'string') return fail('QC2105', '"text" is a string', at);
  const tokens = requireTokens(options.inputs, at);
  if (batchOf(tokens) > 1)
    fail('QC2103', `a line of text is one sequence, and the model takes ${batchOf(tokens)} at a time`, at, {
      hint: `give the text as .txt, or lines in which "${tokens.name}" has ${batchOf(tokens)} lists`,
    });
  const ids = tokenizerFor(options, at).encode(text, { addSpecialTokens: options.addSpecialTokens ?? false });
  if (ids.length === 0) fail('QC2105', 'the text has no tokens', at);
  const data = Int32Array.from(ids.slice(0, options.seq));
  return { [tokens.name]: { dtype: 'i32', shape: [1, data.length], data } };
}

interface Listed {
  readonly shape: readonly number[];
  readonly numbers: readonly number[];
}

function listed(record: object, at: Location, { inputs, seq }: LineOptions): Feeds {
  checkNames(Object.keys(record), inputs.all, at);
  const used = inputs.all.filter(({ name }) => name in record);
  const lists = new Map(Object.entries(record).map(([name, value]) => [name, listOf(name, value, at)]));
  const others = used.filter((input) => !isPerToken(input, inputs)).map((input) => arrayOf(input, lists.get(input.name)!, at));
  const past = pastIn(Object.fromEntries(others), inputs);
  const { tokens } = inputs;
  const ids = tokens && lists.has(tokens.name) ? rowOf(lists.get(tokens.name)!) : null;
  if (tokens && ids) checkRows(tokens, ids, at);
  const rows = used
    .filter((input) => isPerToken(input, inputs))
    .map((input) => {
      const row = rowOf(lists.get(input.name)!);
      const before = roleOf(input, inputs) === 'mask' ? past : 0;
      if (tokens && ids) checkCount(input.name, row, tokens.name, before + ids.shape.at(-1)!, at);
      return arrayOf(input, cutTo(before + seq, row), at);
    });
  return Object.fromEntries([...others, ...rows]);
}

/** Whether an input has one number for each token. */
function isPerToken(input: ModelInput, inputs: ModelInputs): boolean {
  const role = roleOf(input, inputs);
  return role === 'tokens' || role === 'mask' || role === 'token-types' || role === 'positions';
}

/** `[[1, 2, 3]]` is the same row as `[1, 2, 3]`. */
const rowOf = (list: Listed): Listed => (list.shape.length === 2 && list.shape[0] === 1 ? { ...list, shape: list.shape.slice(1) } : list);

function checkRows(tokens: ModelInput, { shape }: Listed, at: Location): void {
  const batch = batchOf(tokens);
  const fits = shape.length === (batch === 1 ? 1 : 2) && shape.at(-1)! > 0 && (batch === 1 || shape[0] === batch);
  const wanted = batch === 1 ? 'a list of at least one token' : `${batch} lists of equal length, of at least one token`;
  if (!fits) fail('QC2105', `"${tokens.name}" is ${wanted}, found the shape [${shape.join(',')}]`, at);
}

function checkCount(name: string, { shape }: Listed, tokens: string, wanted: number, at: Location): void {
  const count = shape.at(-1) ?? 1;
  if (count !== wanted) fail('QC2105', `"${name}" has ${count} numbers for each sequence, "${tokens}" needs ${wanted}`, at);
}

/** At most `extent` numbers of each row. */
function cutTo(extent: number, { shape, numbers }: Listed): Listed {
  const count = shape.at(-1) ?? 0;
  if (count <= extent) return { shape, numbers };
  return { shape: [...shape.slice(0, -1), extent], numbers: numbers.filter((_, i) => i % count < extent) };
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

function arrayOf(input: ModelInput, { shape, numbers }: Listed, at: Location): readonly [string, HostTensor] {
  const dtype = arrayType(input, at);
  const data = fromNumbers(dtype, numbers) ?? fail('QC2103', `"${input.name}" is ${dtype} in the model, and its numbers do not fit`, at);
  return [input.name, { dtype, shape: batched(shape, input.shape), data }];
}

/** The shape with the batch axis of the model; a flat list takes the shape that the model leaves open in one place at most. */
function batched(shape: readonly number[], declared: readonly Dim[] | null): readonly number[] {
  if (declared === null || shape.length === declared.length - 1) return [1, ...shape];
  if (shape.length !== 1 || declared.length < 2) return shape;
  const dims = declared.map((d, i) => (typeof d === 'number' ? d : i === 0 ? 1 : null));
  const known = sizeOf(dims.map((d) => d ?? 1));
  return dims.filter((d) => d === null).length > 1 ? shape : dims.map((d) => d ?? Math.floor(shape[0]! / known));
}
