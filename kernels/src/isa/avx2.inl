// 8 columns side by side.
#pragma once
#include <cstdint>

#include "isa/intrinsics.h"

namespace qc {
namespace {

struct Lanes8 {
  static constexpr int kLanes = 8;
  using Int = __m256i;
  using Float = __m256;

  static Int load(const uint8_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
  static void store(uint8_t* to, Int a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), a); }
  static Int load_uint8(const uint8_t* from) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))); }
  static Int splat(int value) { return _mm256_set1_epi32(value); }
  // As floats, which leaves more of the CPU to sums than broadcasts of integers do.
  static Int splat_quad(const int8_t* codes) { return _mm256_castps_si256(_mm256_broadcast_ss(reinterpret_cast<const float*>(codes))); }
  static Int shift_right(Int a, int count) { return _mm256_srli_epi32(a, count); }
  static Int shift_left(Int a, int count) { return _mm256_slli_epi32(a, count); }
  static Int bit_and(Int a, Int b) { return _mm256_and_si256(a, b); }
  static Int bit_or(Int a, Int b) { return _mm256_or_si256(a, b); }
  static Int add(Int a, Int b) { return _mm256_add_epi32(a, b); }
  static Int subtract_bytes(Int a, Int b) { return _mm256_sub_epi8(a, b); }
  static Int multiply(Int a, Int b) { return _mm256_mullo_epi32(a, b); }
  static Float to_float(Int a) { return _mm256_cvtepi32_ps(a); }

  static Float load(const float* from) { return _mm256_loadu_ps(from); }
  static void store(float* to, Float a) { _mm256_storeu_ps(to, a); }
  static Float splat(float value) { return _mm256_set1_ps(value); }
  static Float subtract(Float a, Float b) { return _mm256_sub_ps(a, b); }
  static Float multiply_add(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
};

}  // namespace
}  // namespace qc
