/** Shortest decimal that reads back as the same f32; always shows that it is a float. */
export function floatText(x: number): string {
  const f = Math.fround(x);
  if (f === 0) return zeroText(f);
  for (let digits = 1; digits < 10; digits++) {
    const text = String(Number(f.toPrecision(digits)));
    if (Math.fround(Number(text)) === f) return asFloat(text);
  }
  return asFloat(String(f));
}

/** Shortest decimal that reads back as the same f64. */
export const doubleText = (x: number): string => (x === 0 ? zeroText(x) : asFloat(String(x)));

const zeroText = (x: number): string => (Object.is(x, -0) ? '-0.0' : '0.0');

const asFloat = (text: string): string => (/[.e]|Infinity|NaN/.test(text) ? text : `${text}.0`);

/** A small deterministic generator (mulberry32), so that tests have weights without storing them: uniform in (-1, 1). */
export function random(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2147483648 - 1;
  };
}

/** 64-bit FNV-1a of bytes, in hex: names large constants in goldens. */
export function digestOf(bytes: Uint8Array): string {
  let low = 0x84222325;
  let high = 0xcbf29ce4;
  for (const byte of bytes) {
    low = (low ^ byte) >>> 0;
    // Times 0x100000001b3: low * 0x1b3 with its carry, plus what crosses from the low to the high word.
    const product = low * 0x1b3;
    high = (Math.imul(high, 0x1b3) + Math.floor(product / 2 ** 32) + (low << 8)) >>> 0;
    low = product >>> 0;
  }
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
}
