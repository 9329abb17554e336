import { roleOf, type ModelInputs } from '../data/inputs.ts';
import type { Carry } from '../runtime/process-messages.ts';

/** What the names of a cache begin with where it goes in, and where it comes out. */
const before = /^(past_key_values|past|cache)/;
const after = /^(present_key_values|present|new_past|past|cache)/;

/**
 * The outputs that are the caches of the next step, and the inputs that take them: `present.0.key` goes to `past_key_values.0.key`. Caches of
 * an encoder that no output gives again stay as they are, and are not here.
 */
export function carriedCaches(inputs: ModelInputs, outputs: readonly string[]): Carry {
  const caches = inputs.all.filter((input) => roleOf(input, inputs) === 'cache').map(({ name }) => name);
  return Object.fromEntries(
    outputs.flatMap((output) => {
      const input = after.test(output) ? caches.find((name) => name.replace(before, '') === output.replace(after, '')) : undefined;
      return input === undefined ? [] : [[output, input] as const];
    }),
  );
}
