import { fail } from '../ir/index.ts';
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

/** The calls with those of a preset in the place of its name. A pass of that name, which a plugin may bring, goes first. QC2002 for options. */
export const withPresets = (calls: readonly PassCall[], manager: PassManager): readonly PassCall[] =>
  calls.flatMap((call) => {
    const preset = manager.passes.some((p) => p.name === call.name) ? null : presets.find((p) => p.name === call.name);
    if (!preset) return [call.inner ? { ...call, inner: withPresets(call.inner, manager) } : call];
    const hint = `write its passes with their options: -p ${preset.passes}`;
    if (call.inner || Object.keys(call.options).length > 0)
      fail('QC2002', `the preset '${preset.name}' takes no options`, undefined, { hint });
    return parsePipeline(preset.passes);
  });
