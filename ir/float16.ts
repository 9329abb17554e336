const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** IEEE 754 binary16 to f32. */
function decodeHalf(h: number): number {
  const sign = h & 0x8000 ? -1 : 1;
  const exponent = (h >> 10) & 0x1f;
  const fraction = h & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

let halves: Float32Array | null = null;

/** Every half has one f32, so decoding is a table of 65,536 entries. */
export function floatsFromHalf(data: Uint16Array): Float32Array {
  halves ??= Float32Array.from({ length: 0x10000 }, (_, h) => decodeHalf(h));
  const table = halves;
  const floats = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) floats[i] = table[data[i]!]!;
  return floats;
}

/** f32 to binary16, round to nearest, ties to even; beyond the range becomes infinity. */
export function halfFromFloat(x: number): number {
  f32[0] = x;
  const bits = u32[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    const scaled = Math.abs(x) * 2 ** 24;
    const floor = Math.floor(scaled);
    const rest = scaled - floor;
    return sign | (floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0));
  }
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1) - 0x38000000;
  return sign | (rounded >>> 13);
}

/** bf16 is the upper half of f32. */
export function floatsFromBfloat(data: Uint16Array): Float32Array {
  const bits = new Uint32Array(data.length);
  for (let i = 0; i < data.length; i++) bits[i] = data[i]! << 16;
  return new Float32Array(bits.buffer);
}

/** f32 to bf16, round to nearest, ties to even. */
export function bfloatFromFloat(x: number): number {
  f32[0] = x;
  const bits = u32[0]!;
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

export const halvesFromFloats = (data: Float32Array): Uint16Array => each(data, halfFromFloat);
export const bfloatsFromFloats = (data: Float32Array): Uint16Array => each(data, bfloatFromFloat);

function each(data: Float32Array, encode: (x: number) => number): Uint16Array {
  const codes = new Uint16Array(data.length);
  for (let i = 0; i < data.length; i++) codes[i] = encode(data[i]!);
  return codes;
}
