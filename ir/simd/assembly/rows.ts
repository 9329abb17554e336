/**
 * Loops over one row of a weight, in AssemblyScript: the compiler makes WebAssembly of this file, whose bytes lie in ../module.ts. Parameters
 * are places in the memory of the module, in bytes. Rows begin at multiples of 16 bytes and have room for a multiple of 16 elements; loops
 * run over that room, so what they leave behind the last element means nothing.
 *
 * Products, quotients and sums have the precision that the comment of each loop says, because results must be the same bits as those of
 * `Math.fround` on numbers.
 */

/** to[i] = f32(from[order[i]] factor) + zero, where the product is in f64. */
export function gatherScaled(to: usize, from: usize, order: usize, n: i32, factor: f64, zero: f32): void {
  for (let i: usize = 0, end = (<usize>n) << 2; i < end; i += 4) {
    const x = load<f32>(from + ((<usize>load<u32>(order + i)) << 2));
    store<f32>(to + i, <f32>(<f64>x * factor) + zero);
  }
}

/** to[i] = f32(from[i] factor) + zero, where the product is in f64. */
export function scaleBy(to: usize, from: usize, n: i32, factor: f64, zero: f32): void {
  const factors = f64x2.splat(factor);
  const zeros = f32x4.splat(zero);
  for (let i: usize = 0, end = (<usize>n) << 2; i < end; i += 16) {
    const x = v128.load(from + i);
    v128.store(to + i, f32x4.add(narrowed(f64x2.mul(lower(x), factors), f64x2.mul(upper(x), factors)), zeros));
  }
}

/** row[i] = f32(row[i] scale[i] + 0), where scales [n], products and sums are in f64: what rounds to -0 stays -0. */
export function scaleEach(row: usize, scale: usize, n: i32): void {
  for (let i: usize = 0, end = (<usize>n) << 2; i < end; i += 16) {
    const x = v128.load(row + i);
    const s = scale + (i << 1);
    v128.store(row + i, narrowed(product(lower(x), v128.load(s)), product(upper(x), v128.load(s, 16))));
  }
}

function product(x: v128, s: v128): v128 {
  return f64x2.add(f64x2.mul(x, s), f64x2.splat(0));
}

/** min[i] and max[i], and row[i] where it lies beyond them. */
export function widen(min: usize, max: usize, row: usize, n: i32): void {
  for (let i: usize = 0, end = (<usize>n) << 2; i < end; i += 16) {
    const x = v128.load(row + i);
    v128.store(min + i, f32x4.pmin(v128.load(min + i), x));
    v128.store(max + i, f32x4.pmax(v128.load(max + i), x));
  }
}

/** Whether an element of a row is infinite or no number; what lies behind the last one counts too. */
export function hasUnbounded(row: usize, n: i32): bool {
  let bounded = i32x4.splat(-1);
  for (let i: usize = 0, end = (<usize>n) << 2; i < end; i += 16)
    bounded = v128.and(bounded, f32x4.lt(f32x4.abs(v128.load(row + i)), f32x4.splat(Infinity)));
  return !i32x4.all_true(bounded);
}

/** code[i] = clip(round(row[i] / scale[i]) + zero[i], qmin, qmax) as i8; quotients in f32, rounded half to even; |zero| < 2^22. */
export function codes(code: usize, row: usize, scale: usize, zero: usize, n: i32, qmin: f32, qmax: f32): void {
  const least = f32x4.splat(qmin);
  const most = f32x4.splat(qmax);
  for (let i: usize = 0, end = <usize>n; i < end; i += 16) {
    const at = i << 2;
    const low = i16x8.narrow_i32x4_s(
      fourCodesOf(row + at, scale + at, zero + at, least, most),
      fourCodesOf(row + at + 16, scale + at + 16, zero + at + 16, least, most),
    );
    const high = i16x8.narrow_i32x4_s(
      fourCodesOf(row + at + 32, scale + at + 32, zero + at + 32, least, most),
      fourCodesOf(row + at + 48, scale + at + 48, zero + at + 48, least, most),
    );
    v128.store(code + i, i8x16.narrow_i16x8_s(low, high));
  }
}

function fourCodesOf(row: usize, scale: usize, zero: usize, least: v128, most: v128): v128 {
  const whole = f32x4.nearest(f32x4.div(v128.load(row), v128.load(scale)));
  // What is far outside of the codes must not meet the zero point where f32 has no odd numbers.
  const near = f32x4.pmin(f32x4.splat(4194304), f32x4.pmax(f32x4.splat(-4194304), whole));
  return i32x4.trunc_sat_f32x4_s(f32x4.pmin(most, f32x4.pmax(least, f32x4.add(near, v128.load(zero)))));
}

/** row[i] = (code[i] - zero[i]) scale[i]: f32, where the difference is exact. */
export function dequantize(row: usize, code: usize, scale: usize, zero: usize, n: i32): void {
  for (let i: usize = 0, end = <usize>n; i < end; i += 4) {
    const at = i << 2;
    const difference = f32x4.sub(f32x4.convert_i32x4_s(fourCodes(code + i)), v128.load(zero + at));
    v128.store(row + at, f32x4.mul(difference, v128.load(scale + at)));
  }
}

/** sum[i] += factor (code[i] - zero[i]) scale[i]: f64, from the left. */
export function addProduct(sum: usize, factor: f64, code: usize, scale: usize, zero: usize, n: i32): void {
  const factors = f64x2.splat(factor);
  for (let i: usize = 0, end = <usize>n; i < end; i += 4) {
    const at = i << 2;
    const difference = f32x4.sub(f32x4.convert_i32x4_s(fourCodes(code + i)), v128.load(zero + at));
    const s = v128.load(scale + at);
    const to = sum + (i << 3);
    v128.store(to, f64x2.add(v128.load(to), f64x2.mul(f64x2.mul(factors, lower(difference)), lower(s))));
    v128.store(to, f64x2.add(v128.load(to, 16), f64x2.mul(f64x2.mul(factors, upper(difference)), upper(s))), 16);
  }
}

/** error[i] += factor (row[i] - (clip(round(row[i] / scale[i]) + zero[i], qmin, qmax) - zero[i]) scale[i])^2, all in f64. */
export function addErrors(error: usize, row: usize, scale: usize, zero: usize, n: i32, qmin: f64, qmax: f64, factor: f64): void {
  const factors = f64x2.splat(factor);
  const least = f64x2.splat(qmin);
  const most = f64x2.splat(qmax);
  for (let i: usize = 0, end = (<usize>n) << 2; i < end; i += 16) {
    const x = v128.load(row + i);
    const s = v128.load(scale + i);
    const z = v128.load(zero + i);
    const to = error + (i << 1);
    v128.store(to, f64x2.add(v128.load(to), f64x2.mul(factors, squaredError(lower(x), lower(s), lower(z), least, most))));
    v128.store(to, f64x2.add(v128.load(to, 16), f64x2.mul(factors, squaredError(upper(x), upper(s), upper(z), least, most))), 16);
  }
}

function squaredError(x: v128, s: v128, z: v128, least: v128, most: v128): v128 {
  const placed = f64x2.add(f64x2.nearest(f64x2.div(x, s)), z);
  const code = f64x2.pmin(most, f64x2.pmax(least, placed));
  const error = f64x2.sub(x, f64x2.mul(f64x2.sub(code, z), s));
  return f64x2.mul(error, error);
}

/** to[i] += sum over j < count of factor[j] from[j stride + i], in f32, from the first to the last; `stride` in elements. */
export function addRows(to: usize, from: usize, stride: i32, factor: usize, count: i32, n: i32): void {
  const step = (<usize>stride) << 2;
  for (let i: usize = 0, end = (<usize>n) << 2; i < end; i += 64) {
    let a = v128.load(to + i);
    let b = v128.load(to + i, 16);
    let c = v128.load(to + i, 32);
    let d = v128.load(to + i, 48);
    let row = from + i;
    for (let j: usize = 0, last = (<usize>count) << 2; j < last; j += 4) {
      const f = v128.load32_splat(factor + j);
      a = f32x4.add(a, f32x4.mul(f, v128.load(row)));
      b = f32x4.add(b, f32x4.mul(f, v128.load(row, 16)));
      c = f32x4.add(c, f32x4.mul(f, v128.load(row, 32)));
      d = f32x4.add(d, f32x4.mul(f, v128.load(row, 48)));
      row += step;
    }
    v128.store(to + i, a);
    v128.store(to + i, b, 16);
    v128.store(to + i, c, 32);
    v128.store(to + i, d, 48);
  }
}

/** Byte j of quad[i] is element i of row j of four rows of i8 codes, plus `lift`. */
export function quads(quad: usize, a: usize, b: usize, c: usize, d: usize, n: i32, lift: i32): void {
  const lifts = i8x16.splat(<i8>lift);
  for (let i: usize = 0, end = <usize>n; i < end; i += 16) {
    const p = i8x16.add(v128.load(a + i), lifts);
    const q = i8x16.add(v128.load(b + i), lifts);
    const r = i8x16.add(v128.load(c + i), lifts);
    const s = i8x16.add(v128.load(d + i), lifts);
    const to = quad + (i << 2);
    storeQuads(to, lowPairs(p, q), lowPairs(r, s));
    storeQuads(to + 32, highPairs(p, q), highPairs(r, s));
  }
}

function storeQuads(to: usize, firsts: v128, lasts: v128): void {
  v128.store(to, i16x8.shuffle(firsts, lasts, 0, 8, 1, 9, 2, 10, 3, 11));
  v128.store(to, i16x8.shuffle(firsts, lasts, 4, 12, 5, 13, 6, 14, 7, 15), 16);
}

function lowPairs(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

function highPairs(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/** word[t stride + i] |= ((quad[16 t + i] >> from) & mask) << shift for 16 words of each of `tiles` tiles; `stride` in words. */
export function place(word: usize, quad: usize, tiles: i32, stride: i32, from: i32, mask: i32, shift: i32): void {
  const masks = i32x4.splat(mask);
  for (let t = 0; t < tiles; t++) {
    const to = word + ((<usize>(t * stride)) << 2);
    const source = quad + ((<usize>t) << 6);
    for (let i: usize = 0; i < 64; i += 16) {
      const bits = i32x4.shl(v128.and(i32x4.shr_u(v128.load(source + i), from), masks), shift);
      v128.store(to + i, v128.or(v128.load(to + i), bits));
    }
  }
}

function fourCodes(at: usize): v128 {
  return i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load32_zero(at)));
}

function lower(x: v128): v128 {
  return f64x2.promote_low_f32x4(x);
}

function upper(x: v128): v128 {
  return f64x2.promote_low_f32x4(i32x4.shuffle(x, x, 2, 3, 2, 3));
}

function narrowed(low: v128, high: v128): v128 {
  return i32x4.shuffle(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 1, 4, 5);
}
