#include <cmath>
#include <cstring>

#include "core/bf16.h"
#include "core/half.h"
#include "core/layout.h"
#include "core/pack.h"
#include "isa/quantize_kernels.h"

namespace qc {
namespace {

// Comparisons are written as the instructions of the other levels decide them for NaN and signed zeros.
struct Lanes {
  float values[16];

  template <class F>
  static Lanes of(F f) {
    Lanes result;
    for (int i = 0; i < 16; ++i) result.values[i] = f(i);
    return result;
  }
  static Lanes all(float value) {
    return of([=](int) { return value; });
  }
  static Lanes load(const float* x) {
    return of([=](int i) { return x[i]; });
  }
  static Lanes from_halves(const uint16_t* x) {
    return of([=](int i) { return half_to_float(x[i]); });
  }
  static Lanes from_bf16(const uint16_t* x) {
    return of([=](int i) { return bf16_to_float(x[i]); });
  }
  static Lanes from_bytes(const uint8_t* x) {
    return of([=](int i) { return static_cast<float>(x[i]); });
  }
  void store(float* y) const { std::memcpy(y, values, sizeof values); }
  void to_halves(uint16_t* y) const {
    for (int i = 0; i < 16; ++i) y[i] = float_to_half(values[i]);
  }
  void to_bf16(uint16_t* y) const {
    for (int i = 0; i < 16; ++i) y[i] = float_to_bf16(values[i]);
  }
  // Of integers from 0 to 255.
  void to_bytes(uint8_t* y) const {
    for (int i = 0; i < 16; ++i) y[i] = static_cast<uint8_t>(values[i]);
  }
  Lanes min(const Lanes& b) const {
    return of([&](int i) { return values[i] < b.values[i] ? values[i] : b.values[i]; });
  }
  Lanes max(const Lanes& b) const {
    return of([&](int i) { return values[i] > b.values[i] ? values[i] : b.values[i]; });
  }
  Lanes zero_if_nan() const {
    return of([&](int i) { return std::isnan(values[i]) ? 0.0f : values[i]; });
  }
  // To integers, half to even.
  Lanes round() const {
    return of([&](int i) { return std::nearbyint(values[i]); });
  }
};

Lanes operator+(const Lanes& a, const Lanes& b) {
  return Lanes::of([&](int i) { return a.values[i] + b.values[i]; });
}
Lanes operator-(const Lanes& a, const Lanes& b) {
  return Lanes::of([&](int i) { return a.values[i] - b.values[i]; });
}
Lanes operator*(const Lanes& a, const Lanes& b) {
  return Lanes::of([&](int i) { return a.values[i] * b.values[i]; });
}
Lanes operator/(const Lanes& a, const Lanes& b) {
  return Lanes::of([&](int i) { return a.values[i] / b.values[i]; });
}

#include "isa/quantize_kernels.inl"

}  // namespace

const QuantizeKernels kQuantizeScalar = kKernels;

}  // namespace qc
