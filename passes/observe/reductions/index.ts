import { average } from './average.ts';
import { gram } from './gram.ts';
import { mean } from './mean.ts';
import { meanAbs } from './mean-abs.ts';
import { range } from './range.ts';
import { rms } from './rms.ts';
import { tokenRange } from './token-range.ts';

/** What comes with `qc` for calibration to see. */
export const reductions = { range, average, tokenRange, mean, meanAbs, rms, gram } as const;
