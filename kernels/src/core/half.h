// IEEE binary16 in software, equal to the conversion instructions of F16C in every bit.
#pragma once
#include <cstdint>
#include <cstring>

namespace qc {

inline float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = (half >> 10) & 0x1F;
  const uint32_t mantissa = half & 0x3FF;
  if (exponent == 0) {
    // A subnormal half is its mantissa in units of 2^-24, exact in a float.
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  uint32_t bits = sign | mantissa << 13;
  if (exponent == 31) {
    // NaN becomes quiet.
    bits |= 0x7F800000 | (mantissa ? 0x00400000 : 0);
  } else {
    bits |= (exponent + 112) << 23;
  }
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

// Rounds half to even.
inline uint16_t float_to_half(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return static_cast<uint16_t>(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));
  // From 65520 on, half way between the greatest half and the next power of two, the result is infinity.
  if (magnitude >= 0x477FF000) return sign | 0x7C00;
  uint32_t exponent_and_mantissa;
  uint32_t dropped_bits;
  if (magnitude >= 0x38800000) {
    exponent_and_mantissa = magnitude - (112u << 23);
    dropped_bits = 13;
  } else {
    // The result is subnormal: the mantissa with its leading one, shifted to units of 2^-24.
    const uint32_t exponent = magnitude >> 23;
    if (exponent < 102) return sign;
    exponent_and_mantissa = (magnitude & 0x7FFFFF) | 0x800000;
    dropped_bits = 126 - exponent;
  }
  const uint32_t kept = exponent_and_mantissa >> dropped_bits;
  const uint32_t rest = exponent_and_mantissa & ((1u << dropped_bits) - 1);
  const uint32_t half_way = 1u << (dropped_bits - 1);
  const bool up = rest > half_way || (rest == half_way && (kept & 1));
  return static_cast<uint16_t>(sign | (kept + up));
}

}  // namespace qc
