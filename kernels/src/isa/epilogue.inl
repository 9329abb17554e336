// What becomes of the sums of a product of codes.
#pragma once
#include <math.h>

#include <cstdint>
#include <cstring>

#include "isa/activation.inl"
#include "isa/weights.inl"

namespace qc {
namespace {

template <float (*kFunction)(float)>
inline void apply(float* y) {
  for (int i = 0; i < kPair; ++i) y[i] = kFunction(y[i]);
}

inline void activate(Activation activation, float* y) {
  switch (activation) {
    case Activation::kNone: return;
    case Activation::kRelu: return apply<relu>(y);
    case Activation::kGelu: return apply<gelu>(y);
    case Activation::kGeluTanh: return apply<gelu_tanh>(y);
    case Activation::kSilu: return apply<silu>(y);
  }
}

// What becomes of the sums of a pair, row by row.
struct Epilogue {
  const ClusterJob& job;
  const Pair& pair;
  float bias[kPair] = {};
  float offset[kPair] = {};

  Epilogue(const ClusterJob& job, const Pair& pair) : job(job), pair(pair) {
    const ClusterMatMul& product = *job.product;
    if (product.bias.data) job.quantize->widen(product.bias, pair.column, pair.count, bias);
    if (product.offset) std::memcpy(offset, product.offset + pair.column, static_cast<size_t>(pair.count) * sizeof(float));
  }

  void finish(int64_t row, float* y) const {
    const ClusterMatMul& product = *job.product;
    const int64_t at = row * product.weight.columns + pair.column;
    const float token_scale = product.token_scale ? product.token_scale[row] : 1.0f;
    const float token_zero = product.token_zero ? product.token_zero[row] : 1.0f;
    for (int i = 0; i < kPair; ++i) y[i] = fmaf(token_scale, fmaf(-token_zero, offset[i], y[i]), bias[i]);
    activate(product.activation, y);
    if (product.multiplier.data) {
      float multiplier[kPair] = {};
      job.quantize->widen(product.multiplier, at, pair.count, multiplier);
      for (int i = 0; i < kPair; ++i) y[i] *= multiplier[i];
    }
    if (product.requantize) {
      const int64_t index = pair.column / kPair;
      const int64_t step_bytes = 4 * product.requantize->bits;
      const int64_t row_bytes = steps_of(product.weight.columns) * step_bytes;
      job.quantize->quantize(y, pair.count, job.out_affines[index], product.out_codes + row * row_bytes + index * step_bytes);
    } else {
      job.quantize->narrow(y, pair.count, product.y, at);
    }
  }
};

}  // namespace
}  // namespace qc
