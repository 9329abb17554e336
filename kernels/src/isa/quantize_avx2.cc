#include <cstring>

#include "core/layout.h"
#include "core/pack.h"
#include "isa/intrinsics.h"
#include "isa/quantize_kernels.h"

namespace qc {
namespace {

#include "isa/float_edges.inl"

struct Lanes {
  __m256 low, high;

  static Lanes all(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
  static Lanes load(const float* x) { return {_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)}; }
  static Lanes from_halves(const uint16_t* x) { return {load_halves(x), load_halves(x + 8)}; }
  static Lanes from_bf16(const uint16_t* x) { return {load_bf16(x), load_bf16(x + 8)}; }
  static Lanes from_bytes(const uint8_t* x) { return {load_bytes(x), load_bytes(x + 8)}; }
  void store(float* y) const {
    _mm256_storeu_ps(y, low);
    _mm256_storeu_ps(y + 8, high);
  }
  void to_halves(uint16_t* y) const {
    store_halves(low, y);
    store_halves(high, y + 8);
  }
  void to_bf16(uint16_t* y) const {
    store_bf16(low, y);
    store_bf16(high, y + 8);
  }
  void to_bytes(uint8_t* y) const { store_bytes(low, high, y); }
  Lanes min(Lanes b) const { return {_mm256_min_ps(low, b.low), _mm256_min_ps(high, b.high)}; }
  Lanes max(Lanes b) const { return {_mm256_max_ps(low, b.low), _mm256_max_ps(high, b.high)}; }
  Lanes zero_if_nan() const {
    return {_mm256_and_ps(low, _mm256_cmp_ps(low, low, _CMP_ORD_Q)), _mm256_and_ps(high, _mm256_cmp_ps(high, high, _CMP_ORD_Q))};
  }
  // To integers, half to even.
  Lanes round() const {
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(low, kNearest), _mm256_round_ps(high, kNearest)};
  }
};

Lanes operator+(Lanes a, Lanes b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
Lanes operator-(Lanes a, Lanes b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
Lanes operator*(Lanes a, Lanes b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
Lanes operator/(Lanes a, Lanes b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }

#include "isa/quantize_kernels.inl"

}  // namespace

const QuantizeKernels kQuantizeAvx2 = kKernels;

}  // namespace qc
