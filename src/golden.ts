/** The line of a golden behind which the graph after its passes stands. */
export const afterMark = '// ---- after ----\n';

/** The graph of a `.qcir` file, which is the one before the passes where the file is a golden. */
export const graphBefore = (text: string): string => text.split(afterMark)[0]!;
