import type { DataOptions } from '../../samples.ts';

/** The options that say where calibration data comes from. */
export interface DataFlags {
  readonly calib?: readonly string[] | undefined;
  readonly tokenizer?: string | undefined;
  readonly seq: number;
  readonly samples?: number | undefined;
  readonly seed?: number | undefined;
  readonly addSpecialTokens?: true | undefined;
  readonly calibration?: string | undefined;
}

/** The data that options name; undefined when they name none. */
export function dataOptions({ calib, tokenizer, seq, samples, seed, addSpecialTokens }: DataFlags): DataOptions | undefined {
  return calib && { files: calib, tokenizer, seq, samples, seed, addSpecialTokens: addSpecialTokens ?? false };
}
