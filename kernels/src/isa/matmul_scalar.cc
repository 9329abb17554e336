#include "isa/matmul.inl"
#include "isa/scalar.inl"

namespace qc {
namespace {

struct Scalar : Lanes1 {
  static constexpr Dot kDot = Dot::kInt32;
  static constexpr int kRows = 2;
  static constexpr int vectors(int) { return 4; }
  static constexpr int kFloatRows = 2;
  static constexpr int kFloatVectors = 4;

  static Int dot(Int sum, Int u8, Int s8) {
    for (int shift = 0; shift < 32; shift += 8) {
      sum += (u8 >> shift & 0xFF) * static_cast<Int>(static_cast<int8_t>(s8 >> shift & 0xFF));
    }
    return sum;
  }
};

}  // namespace

constexpr MatMulKernels kMatMulScalar = matmul_kernels<Scalar>();

}  // namespace qc
