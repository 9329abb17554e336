import { blocks, generated, table } from '../markdown.ts';
import { pipelines } from './compiled-cell.ts';
import type { Cell } from './families.ts';

/** docs/families.md. */
export function page(cells: readonly Cell[]): string {
  return blocks(
    generated('test/fixtures/families').replace('generate-docs.ts', 'families/families.ts').replace('generate', 'families'),
    '# Families and exporters',
    [
      'Tiny models with random weights (64 channels, two layers) of many families by real exporters, which',
      '`scripts/fixtures/export_families.py` makes anew. A count is what `qc` recognises of what the model holds by the count of',
      "torch's modules. SQNR is that of the outputs at w8a8 for `ort-cpu`, in dB, by pipeline; weights are random, so it shows that nothing",
      'is broken, and not how good a method is. `npm run families` prints and writes this page.',
    ].join('\n'),
    table(
      ['model', 'linears', 'norms', 'attentions', 'caches', 'Gathers left', 'exact to', ...pipelines],
      cells.map((c) => [c.name, ...counts(c), gathers(c), exact(c), ...pipelines.map((p) => figure(c, p))]),
    ),
  );
}

const counts = ({ truth, found, error }: Cell): readonly string[] =>
  (['linears', 'norms', 'attentions', 'caches'] as const).map((what) => (found ? `${found[what]}/${truth[what]}` : (error ?? '')));

const gathers = ({ compiled }: Cell): string => String(compiled['rptq,os+']?.gathers ?? '');

const exact = ({ compiled }: Cell): string => {
  const worst = Math.max(...Object.values(compiled).map((c) => c.exact ?? 0));
  return Number.isFinite(worst) && worst > 0 ? worst.toExponential(0) : '';
};

const figure = ({ compiled }: Cell, passes: string): string => {
  const cell = compiled[passes];
  if (!cell) return '';
  // JSON has no infinity.
  return cell.error ?? (cell.sqnr === null || !Number.isFinite(cell.sqnr) ? 'equal' : cell.sqnr.toFixed(0));
};
