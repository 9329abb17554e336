import { sizeOf, type Dim } from '../../ir/types.ts';
import type { Feeds, HostTensor } from '../../passes/infra/executor.ts';
import { filled, fromNumbers, isHostDType, type HostDType } from './host-arrays.ts';
import { roleOf, type ModelInput, type ModelInputs } from './inputs.ts';

/** How many sequences go in, how long each is, and how many tokens the caches hold. */
interface Extents {
  readonly batch: number;
  readonly length: number;
  readonly past: number;
}

/** What the tokens in `arrays`, behind `past` others, imply for the inputs beside them; null for an input that they imply nothing for. */
export function impliedBy(arrays: Feeds, inputs: ModelInputs, past = pastIn(arrays, inputs)): (input: ModelInput) => HostTensor | null {
  const extents = extentsOf(arrays, inputs, past);
  return (input) => extents && implied(input, inputs, extents);
}

/** Tokens that the caches in `arrays` hold; caches that the data lacks are empty. */
export function pastIn(arrays: Feeds, inputs: ModelInputs): number {
  for (const input of inputs.all) {
    const array = arrays[input.name];
    const axis = roleOf(input, inputs) === 'cache' ? lengthAxis(input, inputs) : null;
    if (array && axis !== null) return array.shape[axis] ?? 0;
  }
  return 0;
}

function extentsOf(arrays: Feeds, inputs: ModelInputs, past: number): Extents | null {
  const ids = inputs.tokens && arrays[inputs.tokens.name];
  return ids ? { batch: ids.shape[0] ?? 1, length: ids.shape.at(-1) ?? 0, past } : null;
}

function implied(input: ModelInput, inputs: ModelInputs, { batch, length, past }: Extents): HostTensor | null {
  if (!isHostDType(input.dtype)) return null;
  const all = (extent: number, value: number): HostTensor => filled(input.dtype as HostDType, [batch, extent], batch * extent, value);
  switch (roleOf(input, inputs)) {
    case 'mask':
      return all(past + length, 1);
    case 'token-types':
      return all(length, 0);
    case 'positions':
      return positions(batch, length, past);
    case 'cache':
      return emptyCache(input, inputs, batch);
    case 'cache-branch':
      return filled(input.dtype, [1], 1, past > 0 ? 1 : 0);
    default:
      return null;
  }
}

const positions = (batch: number, length: number, past: number): HostTensor => ({
  dtype: 'i64',
  shape: [batch, length],
  data: fromNumbers(
    'i64',
    Float64Array.from({ length: batch * length }, (_, i) => past + (i % length)),
  )!,
});

/** A cache of no tokens. One of an encoder holds what the model attends to, so it is empty only where a branch leaves it unread. */
function emptyCache(input: ModelInput, inputs: ModelInputs, batch: number): HostTensor | null {
  const axis = lengthAxis(input, inputs);
  const isRead = /encoder/i.test(input.name) && !inputs.all.some((other) => roleOf(other, inputs) === 'cache-branch');
  if (axis === null || isRead) return null;
  const shape = input.shape!.map((d, i) => (i === axis ? 0 : typeof d === 'number' ? d : batch));
  return filled(input.dtype as HostDType, shape, sizeOf(shape), 0);
}

/** The axis of a cache along which tokens lie: the last one that the model leaves open, beside that of the batch. */
function lengthAxis({ shape }: ModelInput, { tokens }: ModelInputs): number | null {
  const open = (shape ?? []).flatMap((d, axis) => (typeof d === 'number' ? [] : [axis]));
  const last = open.at(-1);
  return last === undefined || open.length > 2 || isBatch(shape![last]!, tokens) ? null : last;
}

const isBatch = (d: Dim, tokens: ModelInput | null): boolean => typeof d === 'string' && (/batch/i.test(d) || d === tokens?.shape?.[0]);
