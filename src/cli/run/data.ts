import type { DataOptions } from '../../model-samples.ts';

/** The options that say where calibration data comes from. */
export interface DataFlags {
  readonly calib?: readonly string[] | undefined;
  readonly tokenizer?: string | undefined;
  readonly seq?: number | undefined;
  readonly input?: string | undefined;
  readonly mask?: string | undefined;
  readonly samples?: number | undefined;
  readonly seed?: number | undefined;
  readonly addSpecialTokens?: true | undefined;
  readonly calibration?: string | undefined;
}

/** The data that options name; undefined when they name none. */
export function dataOptions({ calib, addSpecialTokens, ...rest }: DataFlags): DataOptions | undefined {
  const { tokenizer, seq, samples, seed, input, mask } = rest;
  return calib && { files: calib, tokenizer, seq, samples, seed, input, mask, addSpecialTokens: addSpecialTokens ?? false };
}
