// Rounding to codes, as the kernels of the CPU do it: every operation rounds once, and none are contracted.
#pragma once
#include "core/layout.h"
#include "device/codes.cuh"
#include "device/cuda.cuh"
#include "device/edge.cuh"

namespace qc::cuda {

struct CodeRange {
  int bits;
  float qmin;
  float qmax;
};

// clip(round half to even(x / scale) + zero, qmin, qmax), lifted; NaN counts as 0.
__device__ inline uint32_t stored_code(float x, float scale, float zero, const CodeRange& range) {
  const float quotient = x / scale;
  const float code = (quotient != quotient ? 0.0f : rintf(quotient)) + zero;
  return static_cast<uint32_t>(static_cast<int>(fminf(fmaxf(code, range.qmin), range.qmax)) + (1 << (range.bits - 1)));
}

// The codes of four channels, zeros from `count` on.
__device__ inline uint32_t stored_quad(const Four& x, int64_t count, float scale, float zero, const CodeRange& range) {
  uint32_t stored = 0;
  for (int i = 0; i < 4; ++i) stored |= stored_code(x.values[i], scale, zero, range) << (8 * i);
  return stored & first_bytes(count);
}

}  // namespace qc::cuda
