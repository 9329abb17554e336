#include "isa/level.h"

#if QC_X86
#include "isa/avx2.inl"
#include "isa/matmul.inl"

namespace qc {
namespace {

// vpmaddubsw adds two products up in 16 bits, which suffice for weights of 4 bits: 8-bit weights are taken as two of these.
struct Avx2 : Lanes8 {
  static constexpr Dot kDot = Dot::kInt16;
  static constexpr int kRows = 4;
  static constexpr int vectors(int rows) { return rows <= 2 ? 4 : 2; }
  static constexpr int kFloatRows = 6;
  static constexpr int kFloatVectors = 2;

  static Int dot(Int sum, Int u8, Int s8) {
    sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(u8, s8));
    // Else GCC would add up the products of a step in an order that takes far more registers than there are.
    __asm__("" : "+x"(sum));
    return sum;
  }
  static Int dot(Int u8, Int s8) { return _mm256_maddubs_epi16(u8, s8); }
  // Lanes of 16 bits, times a factor, to lanes of 32.
  static Int widen(Int sum, int factor) { return _mm256_madd_epi16(sum, _mm256_set1_epi16(static_cast<short>(factor))); }
};

}  // namespace

constexpr MatMulKernels kMatMulAvx2 = matmul_kernels<Avx2>();

}  // namespace qc
#endif
