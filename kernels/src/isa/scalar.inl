// One column at a time, in plain C++.
#pragma once
#include <math.h>

#include <cstdint>
#include <cstring>

namespace qc {
namespace {

// Integers are kept unsigned: they may wrap around on the way to a result that does not.
struct Lanes1 {
  static constexpr int kLanes = 1;
  using Int = uint32_t;
  using Float = float;

  static Int load(const uint8_t* from) {
    Int word;
    std::memcpy(&word, from, sizeof word);
    return word;
  }
  static void store(uint8_t* to, Int a) { std::memcpy(to, &a, sizeof a); }
  static Int splat_quad(const int8_t* codes) { return load(reinterpret_cast<const uint8_t*>(codes)); }
  static Int load_uint8(const uint8_t* from) { return *from; }
  static Int splat(int value) { return static_cast<Int>(value); }
  static Int shift_right(Int a, int count) { return a >> count; }
  static Int shift_left(Int a, int count) { return a << count; }
  static Int bit_and(Int a, Int b) { return a & b; }
  static Int bit_or(Int a, Int b) { return a | b; }
  static Int add(Int a, Int b) { return a + b; }
  static Int subtract_bytes(Int a, Int b) {
    Int difference = 0;
    for (int shift = 0; shift < 32; shift += 8) difference |= (((a >> shift) - (b >> shift)) & 0xFF) << shift;
    return difference;
  }
  static Int multiply(Int a, Int b) { return a * b; }
  static Float to_float(Int a) { return static_cast<float>(static_cast<int32_t>(a)); }

  static Float load(const float* from) { return *from; }
  static void store(float* to, Float a) { *to = a; }
  static Float splat(float value) { return value; }
  static Float subtract(Float a, Float b) { return a - b; }
  static Float multiply_add(Float a, Float b, Float c) { return fmaf(a, b, c); }
};

}  // namespace
}  // namespace qc
