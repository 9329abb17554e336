import { parsePipeline, type PassCall, type PassManager } from '../passes/index.ts';

/** A pipeline with a name, which stands where a pass does. */
export interface Preset {
  readonly name: string;
  readonly summary: string;
  readonly passes: string;
}

export const presets: readonly Preset[] = [
  {
    name: 'accurate',
    summary:
      'all that lowers the error at any scheme: orders, shifts and scales, weights rounded by what they meet, ranges for each token where they must be',
    passes: 'rptq,os+,equalize,gptq,dynamic-ranges',
  },
];

/** The calls with those of a preset in the place of its name. A pass of that name, which a plugin may bring, goes first. */
export const withPresets = (calls: readonly PassCall[], { passes }: PassManager): readonly PassCall[] =>
  calls.flatMap((call) => {
    const preset = passes.some((p) => p.name === call.name) ? null : presets.find((p) => p.name === call.name);
    return preset ? parsePipeline(preset.passes) : [call];
  });
