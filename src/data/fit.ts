import { fail, type Location } from '../../ir/diagnostics.ts';
import { formatType } from '../../ir/types.ts';
import type { Feeds, HostTensor } from '../../passes/infra/executor.ts';
import { convert, isHostDType, type HostDType } from './host-arrays.ts';
import { impliedBy } from './implied.ts';
import { checkNames, type ModelInput, type ModelInputs } from './inputs.ts';

/**
 * `arrays` as the model wants them: element types converted, what the tokens imply added; QC2103 when they do not fit. `past` are the tokens
 * in caches: those in `arrays`, unless they are fed in another way.
 */
export function fit(arrays: Feeds, inputs: ModelInputs, at: Location, past?: number): Feeds {
  checkNames(Object.keys(arrays), inputs.all, at);
  const implied = impliedBy(arrays, inputs, past);
  return Object.fromEntries(inputs.all.map((input) => [input.name, fitted(input, arrays[input.name] ?? implied(input), inputs, at)]));
}

/** The element type of an input as one that has arrays; QC2103 for the others. */
export const arrayType = ({ name, dtype }: ModelInput, at?: Location): HostDType =>
  isHostDType(dtype) ? dtype : fail('QC2103', `input "${name}" of the model is ${dtype}, for which there are no arrays`, at);

function fitted(input: ModelInput, array: HostTensor | null, inputs: ModelInputs, at: Location): HostTensor {
  if (!array) return lacking(input, inputs, at);
  const found = `"${input.name}" is ${formatType(input)} in the model, ${formatType(array)} in the data`;
  if (!matches(array.shape, input)) fail('QC2103', found, at);
  return convert(array, arrayType(input, at)) ?? fail('QC2103', `${found}, and its numbers do not fit`, at);
}

function lacking({ name, dtype, shape }: ModelInput, { mask }: ModelInputs, at: Location): never {
  const mayMask = mask === null && (dtype === 'bool' || /mask/i.test(name)) && !/encoder/i.test(name);
  return fail('QC2103', `the data lacks input "${name}" of the model, ${formatType({ dtype, shape })}`, at, {
    hint: `give an array of this name as .npz or .jsonl${mayMask ? `; if it marks padding, --mask '${name}' is enough` : ''}`,
  });
}

const matches = (shape: readonly number[], { shape: declared }: ModelInput): boolean =>
  declared === null || (declared.length === shape.length && declared.every((d, i) => typeof d !== 'number' || d === shape[i]));
