import { constants } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import { fail, type Location } from '../../ir/diagnostics.ts';

/** The place of a data file, or of one array in it. */
export const inData = (file: string, array = ''): Location => ({ kind: 'onnx', file, node: array });

export type LineLocation = Extract<Location, { kind: 'text' }>;

export const atLine = (file: string, line: number, column = 1): LineLocation => ({ kind: 'text', file, line, column });

/** What a caught error says, also where it is of another realm, as under jest. */
export const messageOf = (error: unknown): string =>
  typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : String(error);

/** Throws QC2109 for a file that cannot be opened. */
export const unreadable = (file: string, error: unknown): never =>
  fail('QC2109', `cannot read the file: ${messageOf(error)}`, inData(file));

/** The text of a file, which must be UTF-8; a byte order mark is dropped. */
export async function readText(file: string): Promise<string> {
  const bytes = await readFile(file).catch((error: unknown) => unreadable(file, error));
  if (bytes.length > constants.MAX_STRING_LENGTH)
    fail('QC2105', `the file has ${bytes.length} bytes, a text at most ${constants.MAX_STRING_LENGTH}: split it`, inData(file));
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return fail('QC2105', 'the text is not UTF-8', atLine(file, firstBadLine(bytes)));
  }
}

function firstBadLine(bytes: Uint8Array): number {
  // No byte of a longer UTF-8 sequence is a line feed, so lines can be decoded alone.
  const decoder = new TextDecoder('utf-8', { fatal: true });
  for (let line = 1, start = 0; ; line++) {
    const end = bytes.indexOf(10, start);
    try {
      decoder.decode(bytes.subarray(start, end === -1 ? bytes.length : end));
    } catch {
      return line;
    }
    if (end === -1) return line;
    start = end + 1;
  }
}
