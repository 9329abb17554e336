import { statistics, type Part, type Reduction, type Statistics } from '../../passes/index.ts';

/** One part out of those of samples one after the other. */
export function merged<T>(reduction: Reduction<T>, parts: readonly Part<T>[]): Part<T> {
  return parts.reduce((a, b) => ({
    samples: a.samples + b.samples,
    tokens: a.tokens + b.tokens,
    value: reduction.merge(a, b),
  }));
}

/** Statistics of samples that all have as many tokens, by reductions with what each saw in every sample. */
export function statisticsFrom(tokens: number, seen: readonly (readonly [Reduction<unknown>, readonly unknown[]])[]): Statistics {
  const all = seen.map(
    ([r, values]) =>
      [
        r,
        merged(
          r,
          values.map((value) => ({ samples: 1, tokens, value })),
        ),
      ] as const,
  );
  const find = (r: Reduction<unknown>): unknown => all.find(([one]) => one === r)?.[1].value ?? null;
  return statistics(all[0]![1], find as <T>(r: Reduction<T>) => T | null)!;
}
