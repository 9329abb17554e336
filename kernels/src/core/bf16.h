// bfloat16 in software: the upper half of a float.
#pragma once
#include <cstdint>
#include <cstring>

namespace qc {

inline float bf16_to_float(uint16_t upper) {
  const uint32_t bits = static_cast<uint32_t>(upper) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

// Rounds half to even. NaN becomes quiet.
inline uint16_t float_to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

}  // namespace qc
