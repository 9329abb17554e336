import { diagnostic, fail, type Diagnostic } from '../../../ir/index.ts';
import type { Evaluation } from '../../eval/evaluate.ts';
import { perplexityText } from '../tables.ts';

/** Limits that a measured model must keep. */
export interface GateFlags {
  readonly against?: string | undefined;
  readonly maxPerplexity?: number | undefined;
  /** As a share: 0.02 for 2 %. */
  readonly maxPerplexityIncrease?: number | undefined;
  readonly minAgreement?: number | undefined;
  readonly minCosine?: number | undefined;
  readonly minSqnr?: number | undefined;
}

/** One limit: the option, the figure that it is held against, and what is to be said where the figure breaks it. */
interface Gate {
  readonly option: string;
  readonly limit: number | undefined;
  readonly isRelative: boolean;
  /** The figure; null where the model has none. */
  readonly figure: number | null | undefined;
  readonly needs: 'logits' | 'outputs beside logits';
  readonly keeps: (figure: number, limit: number) => boolean;
  readonly broken: (figure: number, limit: number) => string;
}

const below = (x: number, limit: number): boolean => x <= limit;
const above = (x: number, limit: number): boolean => x >= limit;

function gatesOf(flags: GateFlags, { perplexity, against }: Partial<Evaluation>): readonly Gate[] {
  const outputs = against?.outputs;
  const worst = (of: readonly number[] | undefined): number | null => (of && of.length > 0 ? Math.min(...of) : null);
  const increase = perplexity === undefined || against?.perplexity === undefined ? null : perplexity / against.perplexity - 1;
  const percent = (x: number): string => `${(100 * x).toFixed(2)} %`;
  return [
    {
      option: 'max-perplexity',
      limit: flags.maxPerplexity,
      isRelative: false,
      figure: perplexity,
      needs: 'logits',
      keeps: below,
      broken: (x, limit) => `perplexity ${perplexityText(x)} is above ${limit}`,
    },
    {
      option: 'max-perplexity-increase',
      limit: flags.maxPerplexityIncrease,
      isRelative: true,
      figure: increase,
      needs: 'logits',
      keeps: below,
      broken: (x, limit) => `perplexity is ${percent(x)} above that of the float model, the limit is ${percent(limit)}`,
    },
    {
      option: 'min-agreement',
      limit: flags.minAgreement,
      isRelative: true,
      figure: against?.agreement,
      needs: 'logits',
      keeps: above,
      broken: (x, limit) => `agreement ${x.toFixed(4)} is below ${limit}`,
    },
    {
      option: 'min-cosine',
      limit: flags.minCosine,
      isRelative: true,
      figure: worst(outputs?.map((o) => o.cosine)),
      needs: 'outputs beside logits',
      keeps: above,
      broken: (x, limit) => `the cosine of an output, ${x.toFixed(6)}, is below ${limit}`,
    },
    {
      option: 'min-sqnr',
      limit: flags.minSqnr,
      isRelative: true,
      figure: worst(outputs?.map((o) => o.sqnr ?? Infinity)),
      needs: 'outputs beside logits',
      keeps: above,
      broken: (x, limit) => `the SQNR of an output, ${x.toFixed(2)} dB, is below ${limit} dB`,
    },
  ];
}

/** QC2007 where a limit that is relative to the float model is given without one. */
export function checkGates(flags: GateFlags): void {
  if (flags.against !== undefined) return;
  const without = gatesOf(flags, {}).find((g) => g.isRelative && g.limit !== undefined);
  if (without) fail('QC2007', `--${without.option} needs --against FLOAT.onnx`);
}

/** The limits that a model breaks. QC2103 where it has no figure to hold against a limit. */
export const failedGates = (flags: GateFlags, found: Evaluation): readonly Diagnostic[] =>
  gatesOf(flags, found).flatMap(({ option, limit, figure, needs, keeps, broken }) => {
    if (limit === undefined) return [];
    const known = figure ?? fail('QC2103', `there is no figure to hold against --${option}: the model has no ${needs}`);
    return keeps(known, limit) ? [] : [diagnostic('QC2202', broken(known, limit))];
  });
