#include "isa/level.h"

#if QC_X86
#include "isa/avx2.inl"
// Else GCC keeps half of the sums of a kernel in memory.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-pre")
#endif
#include "isa/matmul.inl"

namespace qc {
namespace {

struct AvxVnni : Lanes8 {
  static constexpr Dot kDot = Dot::kInt32;
  static constexpr int kRows = 6;
  static constexpr int vectors(int rows) { return rows <= 3 ? 4 : 2; }
  static constexpr int kFloatRows = 6;
  static constexpr int kFloatVectors = 2;

  static Int dot(Int sum, Int u8, Int s8) { return _mm256_dpbusd_avx_epi32(sum, u8, s8); }
};

}  // namespace

constexpr MatMulKernels kMatMulAvxVnni = matmul_kernels<AvxVnni>();

}  // namespace qc
#endif
