import { defaults } from '../defaults.ts';
import { InvalidArgumentError } from '@commander-js/extra-typings';

/** Reads a whole number that is not below `least`. */
export const whole =
  (least: number) =>
  (text: string): number => {
    const x = Number(text);
    const fits = /^[+-]?\d+$/.test(text) && Number.isSafeInteger(x) && x >= least;
    if (!fits) throw new InvalidArgumentError(`expected a whole number of at least ${least}`);
    return x;
  };

/** Reads whole numbers with commas between them. */
export const wholes =
  (least: number) =>
  (text: string): readonly number[] =>
    text.split(',').map(whole(least));

/** Reads a number from `least` to `most`. */
export const number =
  (least: number, most = Infinity) =>
  (text: string): number => {
    const x = Number(text);
    const range = most === Infinity ? `of at least ${least}` : `from ${least} to ${most}`;
    if (text.trim() === '' || !(x >= least && x <= most)) throw new InvalidArgumentError(`expected a number ${range}`);
    return x;
  };

/** Reads `2%`, a share of at least 0, as 0.02. */
export const percent = (text: string): number => {
  const found = /^(\d+(?:\.\d+)?)\s*%$/.exec(text.trim());
  if (!found) throw new InvalidArgumentError('expected a percentage, as 2%');
  return Number(found[1]) / 100;
};

/** Collects the pipelines of repeated `-p`. */
export const pipelines = (text: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), text];

/** Repeated `-p` as one pipeline; `none` adds nothing to others. */
export function joinedPipeline(parts: readonly string[]): string {
  const passes = parts.filter((part) => part.trim() !== 'none');
  return passes.length === 0 ? 'none' : passes.join(',');
}

/** How files become samples, for the help of commands that read data. */
export const dataHelp = `
Data: .txt is text, cut into windows of --seq tokens. A line of .jsonl is one sample: {"text": "..."} or {"input_ids": [...]}, with a
list for each further input by its name. .npz has an array for each input by its name, whose first axis counts the samples. Masks of
ones, positions, token types and empty caches are made where the data lacks them. docs/data.md says more.
`;

/** Texts that several commands share. */
export const texts = {
  json: 'print one JSON document on stdout and nothing else',
  quiet: 'nothing on stderr but errors: no progress, no notes, no warnings (--json has them)',
  passes: "passes to run, as in 'rptq{clusters=32},os+'; may be repeated",
  calib: 'calibration data: .txt (needs --tokenizer), .jsonl or .npz',
  data: 'text (.txt, needs --tokenizer), .jsonl or .npz',
  tokenizer: "the model's tokenizer.json, for text",
  seq: 'tokens of a sample (default: 256, or what the model takes)',
  samples: `how many samples; too few in the data is an error (default: all, at most ${defaults.samples})`,
  seed: 'choose the samples at random; by default the first ones',
  special: 'add the special tokens that the tokenizer puts around a text',
  input: 'the input that takes tokens (default: input_ids, or the only one that can)',
  mask: 'the input that marks padding with 0 (default: attention_mask and the like)',
  calibration: 'use ranges that --save-calibration wrote, instead of data',
  plugin: 'load passes from a module whose default export is a pass or a list of passes',
  noKernels: "run on function bodies, without qc's library of kernels",
  threads: 'threads of ONNX Runtime (default: all cores)',
} as const;
