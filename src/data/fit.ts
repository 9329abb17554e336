import { fail, type Location } from '../../ir/diagnostics.ts';
import { formatType, isInteger, sizeOf, type TensorType } from '../../ir/types.ts';
import type { Feeds, HostTensor } from '../../passes/infra/executor.ts';
import { convert, filled, fromNumbers, isHostDType, type HostDType } from './host-arrays.ts';

/** An input of the model, as its graph declares it. */
export interface ModelInput extends TensorType {
  readonly name: string;
}

/** `arrays` as the model wants them: element types converted, masks and positions added; QC2103 when they do not fit. */
export function fit(arrays: Feeds, inputs: readonly ModelInput[], at: Location): Feeds {
  checkNames(Object.keys(arrays), inputs, at);
  const ids = arrays['input_ids'];
  return Object.fromEntries(inputs.map((input) => [input.name, fitted(input, arrays[input.name] ?? (ids && implied(input, ids)), at)]));
}

/** Throws QC2103 for names that no input of the model has. */
export function checkNames(names: readonly string[], inputs: readonly ModelInput[], at: Location): void {
  const unknown = names.filter((name) => !inputs.some((input) => input.name === name));
  if (unknown.length > 0)
    fail('QC2103', `the model has no input ${unknown.map((name) => `"${name}"`).join(', ')}`, at, {
      notes: [`inputs of the model: ${inputs.map((input) => input.name).join(', ')}`],
    });
}

/** The element type of an input as one that has arrays; QC2103 for the others. */
export const arrayType = ({ name, dtype }: ModelInput, at: Location): HostDType =>
  isHostDType(dtype) ? dtype : fail('QC2103', `input "${name}" of the model is ${dtype}, for which there are no arrays`, at);

function fitted(input: ModelInput, array: HostTensor | undefined, at: Location): HostTensor {
  if (!array) return fail('QC2103', `the data lacks input "${input.name}" of the model, ${formatType(input)}`, at);
  const found = `"${input.name}" is ${formatType(input)} in the model, ${formatType(array)} in the data`;
  if (!matches(array.shape, input)) fail('QC2103', found, at);
  return convert(array, arrayType(input, at)) ?? fail('QC2103', `${found}, and its numbers do not fit`, at);
}

const matches = (shape: readonly number[], { shape: declared }: ModelInput): boolean =>
  declared === null || (declared.length === shape.length && declared.every((d, i) => typeof d !== 'number' || d === shape[i]));

/** What a tokenizer's ids imply for the usual inputs beside them. */
function implied(input: ModelInput, ids: HostTensor): HostTensor | undefined {
  const dtype: HostDType = isHostDType(input.dtype) ? input.dtype : 'i64';
  const count = sizeOf(ids.shape);
  const length = ids.shape.at(-1) ?? 0;
  switch (input.name) {
    case 'attention_mask':
      return filled(dtype, ids.shape, count, 1);
    case 'token_type_ids':
      return filled(dtype, ids.shape, count, 0);
    case 'position_ids':
      return isInteger(dtype) ? positions(ids.shape, count, length) : undefined;
    default:
      return undefined;
  }
}

const positions = (shape: readonly number[], count: number, length: number): HostTensor => ({
  dtype: 'i64',
  shape,
  data: fromNumbers(
    'i64',
    Float64Array.from({ length: count }, (_, i) => i % length),
  )!,
});
