/** `wanted` of the numbers below `count`, ascending: the first ones, or with a seed a random choice that the seed determines. */
export function choose(count: number, wanted: number, seed: number | undefined): readonly number[] {
  const all = Array.from({ length: count }, (_, i) => i);
  if (seed === undefined) return all.slice(0, wanted);
  const random = randomFrom(seed);
  for (let i = 0; i < Math.min(wanted, count); i++) {
    const other = i + Math.floor(random() * (count - i));
    [all[i], all[other]] = [all[other]!, all[i]!];
  }
  return all.slice(0, wanted).sort((a, b) => a - b);
}

/** mulberry32: small, and the same on every machine. */
function randomFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
