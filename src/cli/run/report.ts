import type { LedgerEntry } from '../../../passes/index.ts';
import type { CompileReport } from '../../compile-report.ts';
import { bytesText, shareText, shortened, smallText, table, type Colors } from '../tables.ts';

/** A compile on the terminal: the ledger as a table, then what it came to. */
export function compileText(report: CompileReport, verbose: boolean, colors: Colors): string {
  const rows = verbose ? report.ledger.map((e) => ({ ...e, count: 1 })) : grouped(report.ledger);
  const ledger = rows.map((e) => [e.kind, nameText(e.name, e.count), e.done.join('; '), e.left.join('; ')]);
  return `${table(['kind', 'name', 'done', 'left'], ledger, colors)}\n${summary(report)}\n`;
}

interface Row extends LedgerEntry {
  readonly count: number;
}

/** Entries with the same fate as one row, under the name of the first. */
function grouped(ledger: readonly LedgerEntry[]): readonly Row[] {
  const rows = new Map<string, Row>();
  for (const entry of ledger) {
    const key = JSON.stringify([entry.kind, entry.done, entry.left]);
    const row = rows.get(key);
    rows.set(key, row ? { ...row, count: row.count + 1 } : { ...entry, count: 1 });
  }
  return [...rows.values()];
}

const nameText = (name: string, count: number): string => (count === 1 ? shortened(name) : `${shortened(name)} (+ ${count - 1} more)`);

function summary(report: CompileReport): string {
  const linears = report.ledger.filter((e) => e.kind === 'linear');
  const { gathers, muls, adds } = report.left;
  const lines: readonly (readonly [string, string])[] = [
    ['linears quantized', `${linears.filter((e) => e.done.length > 0).length} of ${linears.length}`],
    ['left at run time', `${gathers} Gather, ${muls} Mul, ${adds} Add`],
    ['size', `${bytesText(report.bytesBefore)} -> ${bytesText(report.bytesAfter)} (${shareText(report.bytesAfter / report.bytesBefore)})`],
    ['largest difference', `exact passes ${differenceText(report.exactDifference)}, lowering ${differenceText(report.loweringDifference)}`],
    ...report.files.map((f, i): readonly [string, string] => [i === 0 ? 'written' : '', `${f.path} (${bytesText(f.bytes)})`]),
  ];
  return lines.map(([what, text]) => `${what.padEnd(20)}${text}`).join('\n');
}

const differenceText = (x: number | null): string => (x === null ? 'not checked' : smallText(x));
