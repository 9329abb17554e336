import { evaluate, type Comparison, type Evaluation } from '../../eval/evaluate.ts';
import type { SiteError } from '../../eval/site-errors.ts';
import type { KernelChoice } from '../../runtime/kernel-use.ts';
import { documentOf, exitCodeFor } from '../errors.ts';
import type { Io } from '../command.ts';
import { checkGates, failedGates, type GateFlags } from './gates.ts';
import { kernelText } from '../kernel-text.ts';
import { startProgress } from '../progress.ts';
import { perplexityText, shortened, table, type Colors } from '../tables.ts';

/** The command line of `qc eval`. */
export interface EvalFlags extends GateFlags {
  readonly model: string;
  readonly data: readonly string[];
  readonly tokenizer?: string | undefined;
  readonly seq?: number | undefined;
  readonly input?: string | undefined;
  readonly mask?: string | undefined;
  readonly windows?: number | undefined;
  readonly addSpecialTokens?: true | undefined;
  readonly threads?: number | undefined;
  readonly kernels: KernelChoice;
}

/** Prints the figures of a model; 4 when a gate fails. */
export async function evalCommand(flags: EvalFlags, { terminal, signal }: Io): Promise<number> {
  checkGates(flags);
  const found = await measured(flags, { terminal, signal });
  const problems = failedGates(flags, found);
  if (terminal.json) terminal.document({ ...found, ...(problems.length > 0 ? documentOf(problems) : {}) });
  else terminal.data(evaluationText(found, terminal.color));
  terminal.diagnose(problems);
  return problems.length > 0 ? exitCodeFor(problems) : 0;
}

async function measured(flags: EvalFlags, { terminal, signal }: Io): Promise<Evaluation> {
  const progress = await startProgress([`evaluate ${flags.model}`], terminal);
  try {
    progress.begin(0);
    const found = await evaluate({
      model: flags.model,
      data: {
        files: flags.data,
        tokenizer: flags.tokenizer,
        seq: flags.seq,
        input: flags.input,
        mask: flags.mask,
        samples: flags.windows,
        addSpecialTokens: flags.addSpecialTokens ?? false,
      },
      against: flags.against,
      threads: flags.threads,
      kernels: flags.kernels,
      signal,
      onProgress: progress.step,
    });
    await progress.end();
    return found;
  } catch (error) {
    await progress.end(error);
    throw error;
  }
}

function evaluationText({ perplexity, tokens, windows, kernels, against }: Evaluation, colors: Colors): string {
  const lines: readonly (readonly [string, string])[] = [
    ...(perplexity === undefined ? [] : [['perplexity', perplexityText(perplexity)] as const, ['tokens', String(tokens)] as const]),
    ['windows', String(windows)],
    ...(kernels ? [['runs on', kernelText(kernels)] as const] : []),
    ...(against ? comparisonLines(against) : []),
  ];
  const text = lines.map(([what, figure]) => `${what.padEnd(20)}${figure}`).join('\n');
  return [text, ...(against ? [outputsText(against, colors), sitesText(against.sites, colors)] : [])].filter((t) => t !== '').join('\n');
}

function comparisonLines({ perplexity, kl, agreement, kernels }: Comparison): readonly (readonly [string, string])[] {
  const path = kernels ? [['float runs on', kernelText(kernels)] as const] : [];
  if (perplexity === undefined || kl === undefined || agreement === undefined) return path;
  return [
    ...path,
    ['float perplexity', perplexityText(perplexity)],
    ['KL from float', `${kl.toExponential(3)} nats`],
    ['agreement', agreement.toFixed(4)],
  ];
}

const decibels = (sqnr: number | null): string => (sqnr === null ? 'equal' : sqnr.toFixed(1));

function outputsText({ outputs }: Comparison, colors: Colors): string {
  const rows = (outputs ?? []).map((o) => [shortened(o.name), decibels(o.sqnr), o.cosine.toFixed(6)]);
  return rows.length === 0 ? '' : table(['output', 'SQNR dB', 'cosine'], rows, colors);
}

const shown = 10;

/** The sites with most noise. */
function sitesText(sites: readonly SiteError[], colors: Colors): string {
  if (sites.length === 0) return 'no sites in common';
  const worst = [...sites].sort((a, b) => (a.sqnr ?? Infinity) - (b.sqnr ?? Infinity)).slice(0, shown);
  const more = sites.length - worst.length;
  const rows = worst.map((s) => [shortened(s.name), decibels(s.sqnr)]);
  return `${table(['site', 'SQNR dB'], rows, colors)}${more > 0 ? `\n${more} better ones in --json` : ''}`;
}
