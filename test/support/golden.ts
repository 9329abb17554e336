import type { Executor } from '../../passes/index.ts';
import { checkGolden as check } from '../../src/testing.ts';

export { goldensIn } from '../../src/testing.ts';

/** A golden of the passes of `qc`; many share an executor. */
export const checkGolden = (path: string, executor: Executor): Promise<void> => check(path, { executor });
