#include "isa/level.h"

#if QC_X86
#include "isa/intrinsics.h"
// Else GCC keeps half of the sums of a kernel in memory, and moves others about.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-pre,no-tree-ter")
#endif
#include "isa/matmul.inl"

namespace qc {
namespace {

struct Avx512Vnni {
  static constexpr int kLanes = 16;
  using Int = __m512i;
  using Float = __m512;

  static constexpr Dot kDot = Dot::kInt32;
  static constexpr int kRows = 12;
  static constexpr int vectors(int) { return 2; }
  static constexpr int kFloatRows = 12;
  static constexpr int kFloatVectors = 2;

  static Int load(const uint8_t* from) { return _mm512_loadu_si512(from); }
  static void store(uint8_t* to, Int a) { _mm512_storeu_si512(to, a); }
  static Int load_uint8(const uint8_t* from) { return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))); }
  static Int splat(int value) { return _mm512_set1_epi32(value); }
  static Int splat_quad(const int8_t* codes) {
    int32_t quad;
    std::memcpy(&quad, codes, sizeof quad);
    return splat(quad);
  }
  static Int shift_right(Int a, int count) { return _mm512_srli_epi32(a, count); }
  static Int shift_left(Int a, int count) { return _mm512_slli_epi32(a, count); }
  static Int bit_and(Int a, Int b) { return _mm512_and_si512(a, b); }
  static Int bit_or(Int a, Int b) { return _mm512_or_si512(a, b); }
  static Int add(Int a, Int b) { return _mm512_add_epi32(a, b); }
  static Int subtract_bytes(Int a, Int b) { return _mm512_sub_epi8(a, b); }
  static Int multiply(Int a, Int b) { return _mm512_mullo_epi32(a, b); }
  static Float to_float(Int a) { return _mm512_cvtepi32_ps(a); }
  static Int dot(Int sum, Int u8, Int s8) { return _mm512_dpbusd_epi32(sum, u8, s8); }

  static Float load(const float* from) { return _mm512_loadu_ps(from); }
  static void store(float* to, Float a) { _mm512_storeu_ps(to, a); }
  static Float splat(float value) { return _mm512_set1_ps(value); }
  static Float subtract(Float a, Float b) { return _mm512_sub_ps(a, b); }
  static Float multiply_add(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
};

}  // namespace

constexpr MatMulKernels kMatMulAvx512Vnni = matmul_kernels<Avx512Vnni>();

}  // namespace qc
#endif
