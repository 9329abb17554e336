import { blocks, generated, table } from '../markdown.ts';
import { pipelines } from './compiled-cell.ts';
import type { Cell } from './families.ts';

/** Why some cells are less than whole. */
const reasons = [
  'Where a cell is less than whole:',
  '',
  '- `genai`: query, key and value are one linear, which counts once. `genai4`: its weights have 4 bits already (`QC4108`).',
  '- `decoder_with_past`: the linears that make keys and values of the encoder are not in the file, and nothing is appended to their caches.',
  '- `mamba`, `mixtral`: state spaces and routers are left; by TorchScript mixtral runs with the tokens of its export alone (`QC5001`).',
  '- `deberta-v2-ortext`: four linears and a norm read a constant table, and ONNX Runtime has computed them.',
  '- `phi2-genai` and `t5-ortopt` do not run on the CPU of ONNX Runtime as they are (`QC5001`).',
].join('\n');

/** docs/families.md. */
export function page(cells: readonly Cell[]): string {
  return blocks(
    generated('test/fixtures/families', 'families/families.ts', 'families'),
    '# Families and exporters',
    [
      'Tiny models with random weights (64 channels, two layers) of many families by real exporters, which',
      '`scripts/fixtures/export_families.py` makes anew. A count is what `qc` recognises of what the model holds by the count of',
      "torch's modules. SQNR is that of the outputs at w8a8 for `ort-cpu`, in dB, by pipeline; weights are random, so it shows that nothing",
      'is broken, and not how good a method is. `npm run families` prints and writes this page.',
    ].join('\n'),
    reasons,
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
