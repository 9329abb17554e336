/**
 * What is recognised in models of many families by many exporters, and how well they stand quantization.
 *
 * npm run families [-- --models DIR] [--counts] [--json FILE] [NAME ...]
 * npm run families -- --page FILE ...
 *
 * Prints the matrix, and writes docs/families.md when it looked at all models; from files that --json wrote, with --page, so that several
 * processes can share the work. --counts leaves out the compiles. The models are those of
 * scripts/fixtures/export_families.py.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { QcError } from '../../ir/index.ts';
import { inspect } from '../../src/inspect.ts';
import { compiledCell, pipelines, type CompiledCell } from './compiled-cell.ts';
import { page } from './page.ts';

/** What a model holds, by the count of torch's modules. */
export interface Truth {
  readonly kind: string;
  readonly linears: number;
  readonly norms: number;
  readonly attentions: number;
  readonly caches: number;
}

/** What was found in a model, or why it could not be read. */
export interface Cell {
  readonly name: string;
  readonly truth: Truth;
  readonly found: { readonly linears: number; readonly norms: number; readonly attentions: number; readonly caches: number } | null;
  readonly error: string | null;
  /** By pipeline. */
  readonly compiled: Readonly<Record<string, CompiledCell>>;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    models: { type: 'string', default: 'test/fixtures/families' },
    counts: { type: 'boolean', default: false },
    json: { type: 'string' },
    page: { type: 'boolean', default: false },
  },
});
if (values.page) {
  const cells = positionals.flatMap((file) => JSON.parse(readFileSync(file, 'utf8')) as readonly Cell[]);
  writeFileSync('docs/families.md', page(cells.toSorted((a, b) => (a.name < b.name ? -1 : 1))));
  process.exit();
}

const truths = JSON.parse(readFileSync(join(values.models, 'families.json'), 'utf8')) as Readonly<Record<string, Truth>>;
const names = Object.keys(truths).filter(
  (name) => positionals.length === 0 || positionals.some((p) => name === p || name.startsWith(`${p}-`)),
);
const scratch = mkdtempSync(join(tmpdir(), 'qc-families-'));

async function cellOf(name: string): Promise<Cell> {
  const path = join(values.models, `${name}.onnx`);
  const cell = { name, truth: truths[name]! };
  try {
    const { recognised } = await inspect(path);
    const compiled: Record<string, CompiledCell> = {};
    if (!values.counts) for (const passes of pipelines) compiled[passes] = await compiledCell(path, passes, scratch);
    return { ...cell, found: recognised, error: null, compiled };
  } catch (error) {
    if (!(error instanceof QcError)) throw error;
    return { ...cell, found: null, error: error.code, compiled: {} };
  }
}

const cells: Cell[] = [];
try {
  for (const name of names) {
    const cell = await cellOf(name);
    cells.push(cell);
    console.log(line(cell));
  }
} finally {
  rmSync(scratch, { recursive: true });
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(cells, null, 1)}\n`);
if (positionals.length === 0 && !values.counts) writeFileSync('docs/families.md', page(cells));

function line({ name, truth, found, error, compiled }: Cell): string {
  const of = (what: keyof Truth & keyof NonNullable<Cell['found']>): string => `${what} ${found?.[what] ?? 0}/${truth[what]}`;
  const counts = error ?? (['linears', 'norms', 'attentions', 'caches'] as const).map(of).join('  ');
  const figures = Object.entries(compiled).map(
    ([passes, c]) => `${passes} ${c.error ?? `${c.sqnr!.toFixed(0)} dB, ${c.gathers} Gathers, ${c.exact?.toExponential(0)}`}`,
  );
  return [name.padEnd(40), counts, ...figures].join('  ');
}
