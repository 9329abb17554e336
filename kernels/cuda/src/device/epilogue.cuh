// What becomes of the sums of a product: y, or the codes of the next one.
#pragma once
#include "core/matmul.h"
#include "device/codes.cuh"
#include "device/edge.cuh"
#include "device/quantize.cuh"
#include "isa/activation.inl"

namespace qc::cuda {

struct Epilogue {
  int64_t columns;
  // Of what the codes of the activations were multiplied by.
  float unit;
  const float* offset;       // [N], or null
  const float* token_scale;  // [rows], or null
  const float* token_zero;   // [rows], or null
  FloatIn bias;              // [N], or missing
  FloatIn multiplier;        // [rows, N], or missing
  Activation activation;
  FloatOut y;  // [rows, N], or missing where there are codes
  // Rows of four values are aligned, of what is by columns and of what is by rows.
  bool whole_bias;
  bool whole_rows;
  uint8_t* codes;             // [rows, bytes_of(N, bits)]
  const float* out_scale;     // [H]
  const float* out_zero;      // [H]
  const int32_t* of_step;     // [steps of N], the cluster of each
  CodeRange range;
};

__device__ inline float activate(Activation activation, float y) {
  switch (activation) {
    case Activation::kNone: return y;
    case Activation::kRelu: return relu(y);
    case Activation::kGelu: return gelu(y);
    case Activation::kGeluTanh: return gelu_tanh(y);
    case Activation::kSilu: return silu(y);
  }
  return y;
}

// Finishes the columns 32 step + 4 q ... + 3 of a row; lanes 8 i + q of a warp have the same row. All lanes take part, those without
// `exists` only in the exchange.
__device__ inline void finish(const Epilogue& e, int64_t row, bool exists, int64_t step, int q, Four y) {
  const int64_t column = step * kStep + 4 * q;
  const int64_t count = e.columns - column;
  const int64_t at = row * e.columns + column;
  if (exists && count > 0) {
    const float token_scale = e.token_scale ? e.token_scale[row] : 1.0f;
    const float token_zero = e.token_zero ? e.token_zero[row] : 1.0f;
    Four bias = {};
    if (e.bias.data) bias = load_four(e.bias, column, count, e.whole_bias);
    for (int i = 0; i < 4; ++i) {
      const float offset = e.offset && i < count ? e.offset[column + i] : 0.0f;
      y.values[i] = activate(e.activation, fmaf(token_scale, fmaf(-token_zero, offset, y.values[i] * e.unit), bias.values[i]));
    }
    if (e.multiplier.data) {
      const Four multiplier = load_four(e.multiplier, at, count, e.whole_rows);
      for (int i = 0; i < 4; ++i) y.values[i] *= multiplier.values[i];
    }
    if (!e.codes) store_four(e.y, at, count, e.whole_rows, y);
  }
  if (!e.codes) return;
  const int cluster = step * kStep < e.columns ? e.of_step[step] : 0;
  const uint32_t stored = stored_quad(y, count, e.out_scale[cluster], e.out_zero[cluster], e.range);
  uint8_t* bytes = e.codes + row * bytes_of(e.columns, e.range.bits) + step * 4 * e.range.bits;
  store_quad(stored, q, e.range.bits, bytes, exists && step * kStep < e.columns);
}

}  // namespace qc::cuda
