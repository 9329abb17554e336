import { isFloat, sizeOf } from '../../ir/types.ts';
import type { Feeds, HostTensor, Samples } from '../../passes/index.ts';
import { carriedCaches } from '../generate/caches.ts';
import { pastIn } from './implied.ts';
import { roleOf, type InputRole, type ModelInput, type ModelInputs } from './inputs.ts';
import type { Sample } from './source.ts';

/**
 * Samples of which the last `count` tokens go in one at a time, with the caches carried, for a model that has caches: what goes in at once are
 * the tokens before them, one at least. Samples stay whole where the model has no caches, or where an input is not known to go with the tokens.
 */
export function withDecoding(samples: readonly Sample[], inputs: ModelInputs, outputs: readonly string[], count: number): Samples {
  const carry = carriedCaches(inputs, outputs);
  if (count === 0 || Object.keys(carry).length === 0 || !mayBeCut(inputs)) return samples;
  const decoded = samples.map((sample) => Math.min(count, lengthOf(sample, inputs) - 1));
  const carried = new Set(Object.values(carry));
  return {
    length: samples.length,
    at: (s) => samples[s] && cut(samples[s], inputs, 0, lengthOf(samples[s], inputs) - decoded[s]!),
    decoding: {
      carry,
      steps: (s) => {
        const [sample, length] = [samples[s]!, lengthOf(samples[s]!, inputs)];
        return Array.from({ length: decoded[s]! }, (_, k) => {
          const at = length - decoded[s]! + k;
          return Object.fromEntries(Object.entries(cut(sample, inputs, at, at + 1)).filter(([name]) => !carried.has(name)));
        });
      },
    },
  };
}

const lengthOf = (sample: Sample, { tokens }: ModelInputs): number => sample[tokens!.name]!.shape.at(-1)!;

/** Inputs [batch, seq] with a number for each token, and the mask, which has those of the tokens in caches in front. */
const ofTokens: ReadonlySet<InputRole | null> = new Set(['tokens', 'positions', 'token-types', 'mask']);

/** Whether every input of the model that goes with its tokens, or counts them, is known, and none has a fixed length. */
function mayBeCut(inputs: ModelInputs): boolean {
  const { tokens, all } = inputs;
  const seq = tokens?.shape?.[1];
  if (typeof seq !== 'string') return false;
  const isKnown = (input: ModelInput): boolean => {
    const role = roleOf(input, inputs);
    if (ofTokens.has(role)) return input.shape?.length === 2 && typeof input.shape[1] !== 'number';
    return role === 'cache' || (role === null && !input.shape?.includes(seq) && (isFloat(input.dtype) || /encoder/i.test(input.name)));
  };
  return all.every(isKnown);
}

/** The tokens of a sample from `start` to `end`, and what goes with them. */
function cut(sample: Sample, inputs: ModelInputs, start: number, end: number): Feeds {
  const past = pastIn(sample, inputs);
  return Object.fromEntries(
    inputs.all.map((input) => {
      const [array, role] = [sample[input.name]!, roleOf(input, inputs)];
      if (!ofTokens.has(role)) return [input.name, array] as const;
      return [input.name, role === 'mask' ? columns(array, 0, past + end) : columns(array, start, end)] as const;
    }),
  );
}

/** Columns of an array [rows, columns]. */
function columns({ dtype, shape, data }: HostTensor, start: number, end: number): HostTensor {
  const [rows, width] = [shape[0]!, shape[1]!];
  const kept = [rows, end - start];
  const out = data.slice(0, sizeOf(kept)) as typeof data;
  for (let row = 0; row < rows; row++) out.set(data.subarray(row * width + start, row * width + end) as never, row * (end - start));
  return { dtype, shape: kept, data: out };
}
