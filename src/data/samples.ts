import { extname } from 'node:path';
import { fail } from '../../ir/diagnostics.ts';
import { choose } from './choose.ts';
import { jsonlSource } from './jsonl.ts';
import { npzSource } from './npz.ts';
import { inData } from './read-file.ts';
import type { Sample, SampleOptions, Source } from './source.ts';
import { textSource } from './text.ts';

export { modelInputs, type InputNames, type ModelInput, type ModelInputs } from './inputs.ts';
export type { Sample, SampleOptions } from './source.ts';

/** The samples in `files`, ready to feed. Fails where there are fewer than requested. */
export async function loadSamples(options: SampleOptions): Promise<readonly Sample[]> {
  checkCounts(options);
  if (options.inputs.all.length === 0) fail('QC2103', 'the model has no inputs, so there is nothing that data could go into');
  const sources = await sourcesOf(options);
  const all = sources.flatMap((source) => source.samples);
  const wanted = options.samples ?? Math.max(Math.min(all.length, options.most ?? Infinity), 1);
  if (all.length < wanted) tooFew(sources, all.length, wanted, options);
  return choose(all.length, wanted, options.seed).map((i) => all[i]!());
}

function checkCounts({ seq, samples }: SampleOptions): void {
  for (const [name, value] of Object.entries({ seq, samples }))
    if (value !== undefined && !(Number.isSafeInteger(value) && value > 0))
      fail('QC2003', `${name} is a positive whole number, found ${value}`);
}

function tooFew(sources: readonly Source[], found: number, wanted: number, { inputs }: SampleOptions): never {
  const others = sources.reduce((n, s) => n + (s.seqFor ? 0 : s.samples.length), 0);
  const isFixed = typeof inputs.tokens?.shape?.[1] === 'number';
  const seq = (!isFixed && sources.find((s) => s.seqFor)?.seqFor?.(wanted - others)) || null;
  const less = [...(seq === null ? [] : [`lower --seq to ${seq}`]), ...(found === 0 ? [] : [`lower the number of samples to ${found}`])];
  return fail('QC2106', `too few samples: ${wanted} needed, ${found} found`, undefined, {
    notes: sources.map((source) => source.summary),
    hint: ['give more data', ...less].join(', or '),
  });
}

async function sourcesOf(options: SampleOptions): Promise<readonly Source[]> {
  const isText = (file: string): boolean => extname(file) === '.txt';
  const texts = options.files.filter(isText);
  const sources = texts.length > 0 ? [await textSource(texts, options)] : [];
  for (const file of options.files) if (!isText(file)) sources.push(await sourceOf(file, options));
  return sources;
}

async function sourceOf(file: string, options: SampleOptions): Promise<Source> {
  switch (extname(file)) {
    case '.jsonl':
      return jsonlSource(file, options);
    case '.npz':
      return npzSource(file, options);
    default:
      return fail('QC2105', 'data files end in .txt, .jsonl or .npz', inData(file));
  }
}
