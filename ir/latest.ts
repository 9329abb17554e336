/** Makes functions that share one place for a result. */
export type Latest = <T>(compute: () => T) => () => T;

/**
 * A place for the result of the function that was called last. It is empty again when another one is called, or when the caller gives control
 * back to the event loop: what is read several times in a row is computed once, and memory holds one result at most.
 */
export function latest(): Latest {
  let kept: { readonly of: unknown; readonly value: unknown } | null = null;
  return <T>(compute: () => T) =>
    () => {
      if (kept?.of !== compute) {
        kept = null;
        kept = { of: compute, value: compute() };
        queueMicrotask(() => (kept = null));
      }
      return kept.value as T;
    };
}
