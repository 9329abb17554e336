import Table from 'cli-table3';
import type { Terminal } from './terminal.ts';

export type Colors = Terminal['color'];

const widest = 54;

/** A table without lines between the rows; long cells wrap. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], colors: Colors): string {
  const widths = head.map((title, i) => Math.min(widest, Math.max(title.length, ...rows.map((r) => r[i]?.length ?? 0)) + 2));
  const made = new Table({
    head: head.map((title) => colors.bold(title)),
    colWidths: widths,
    wordWrap: true,
    chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' },
    style: { head: [], border: [], compact: true },
  });
  made.push(...rows.map((r) => [...r]));
  return made.toString();
}

const longest = 40;

/** A name that fits into a table: its end says more than its beginning. */
export const shortened = (name: string): string => (name.length > longest ? `…${name.slice(1 - longest)}` : name);

/** `27.98 MB`, in powers of ten. */
export function bytesText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = bytes < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return power === 0 ? `${bytes} B` : `${(bytes / 1000 ** power).toFixed(2)} ${units[power]}`;
}

/** `ratio 0.273`. */
export const shareText = (share: number): string => `ratio ${share.toFixed(3)}`;

/** `50.4832`, or `7.46e19` of a model that predicts nothing. */
export const perplexityText = (x: number): string => (x < 1e6 ? x.toFixed(4) : x.toExponential(2).replace('e+', 'e'));

/** `0` or `1.2e-7`. */
export const smallText = (x: number): string => (x === 0 ? '0' : x.toExponential(1));

/** `27 979 000`. */
export const countText = (n: number): string => String(n).replace(/\B(?=(\d{3})+$)/g, ' ');
