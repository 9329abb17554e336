/** The tag of a length-delimited field followed by its length. */
export function tagBytes(field: number, length: number): Uint8Array {
  const bytes: number[] = [];
  pushVarint(bytes, field * 8 + 2);
  pushVarint(bytes, length);
  return Uint8Array.from(bytes);
}

// Division, not shifts: lengths may go beyond 32 bits.
function pushVarint(into: number[], value: number): void {
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) into.push((rest % 128) + 128);
  into.push(rest);
}
