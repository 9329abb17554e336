#include <cstring>

#include "core/layout.h"
#include "core/pack.h"
#include "isa/intrinsics.h"
#include "isa/quantize_kernels.h"

namespace qc {
namespace {

#include "isa/float_edges.inl"

struct Lanes {
  __m512 values;

  static Lanes all(float value) { return {_mm512_set1_ps(value)}; }
  static Lanes load(const float* x) { return {_mm512_loadu_ps(x)}; }
  static Lanes from_halves(const uint16_t* x) { return joined(load_halves(x), load_halves(x + 8)); }
  static Lanes from_bf16(const uint16_t* x) { return joined(load_bf16(x), load_bf16(x + 8)); }
  static Lanes from_bytes(const uint8_t* x) { return joined(load_bytes(x), load_bytes(x + 8)); }
  void store(float* y) const { _mm512_storeu_ps(y, values); }
  void to_halves(uint16_t* y) const {
    store_halves(low(), y);
    store_halves(high(), y + 8);
  }
  void to_bf16(uint16_t* y) const {
    store_bf16(low(), y);
    store_bf16(high(), y + 8);
  }
  void to_bytes(uint8_t* y) const { store_bytes(low(), high(), y); }
  Lanes min(Lanes b) const { return {_mm512_min_ps(values, b.values)}; }
  Lanes max(Lanes b) const { return {_mm512_max_ps(values, b.values)}; }
  Lanes zero_if_nan() const { return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(values, values, _CMP_ORD_Q), values)}; }
  // To integers, half to even.
  Lanes round() const { return {_mm512_roundscale_ps(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }

 private:
  static Lanes joined(__m256 low, __m256 high) { return {_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1)}; }
  __m256 low() const { return _mm512_castps512_ps256(values); }
  __m256 high() const { return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(values), 1)); }
};

Lanes operator+(Lanes a, Lanes b) { return {_mm512_add_ps(a.values, b.values)}; }
Lanes operator-(Lanes a, Lanes b) { return {_mm512_sub_ps(a.values, b.values)}; }
Lanes operator*(Lanes a, Lanes b) { return {_mm512_mul_ps(a.values, b.values)}; }
Lanes operator/(Lanes a, Lanes b) { return {_mm512_div_ps(a.values, b.values)}; }

#include "isa/quantize_kernels.inl"

}  // namespace

const QuantizeKernels kQuantizeAvx512 = kKernels;

}  // namespace qc
