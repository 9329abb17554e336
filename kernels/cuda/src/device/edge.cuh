// Tensors at the float edge, of which a thread handles four consecutive values at a time.
#pragma once
#include "core/matmul.h"
#include "device/ptx.cuh"

namespace qc::cuda {

struct Four {
  float values[4];
};

__device__ inline float load_one(FloatIn from, int64_t at) {
  if (from.type == FloatType::kF32) return static_cast<const float*>(from.data)[at];
  const uint16_t half = static_cast<const uint16_t*>(from.data)[at];
  return from.type == FloatType::kF16 ? from_half<FloatType::kF16>(half) : from_half<FloatType::kBf16>(half);
}

__device__ inline void store_one(FloatOut to, int64_t at, float value) {
  if (to.type == FloatType::kF32) {
    static_cast<float*>(to.data)[at] = value;
  } else {
    static_cast<uint16_t*>(to.data)[at] = to.type == FloatType::kF16 ? to_half<FloatType::kF16>(value) : to_half<FloatType::kBf16>(value);
  }
}

// The value as it is when it has been stored as this type.
__device__ inline float rounded(FloatType type, float value) {
  if (type == FloatType::kF32) return value;
  if (type == FloatType::kF16) return from_half<FloatType::kF16>(to_half<FloatType::kF16>(value));
  return from_half<FloatType::kBf16>(to_half<FloatType::kBf16>(value));
}

template <FloatType kType>
__device__ inline Four widen(uint2 pairs) {
  return {{from_half<kType>(static_cast<uint16_t>(pairs.x)), from_half<kType>(static_cast<uint16_t>(pairs.x >> 16)),
           from_half<kType>(static_cast<uint16_t>(pairs.y)), from_half<kType>(static_cast<uint16_t>(pairs.y >> 16))}};
}

template <FloatType kType>
__device__ inline uint2 narrow(const Four& four) {
  const auto pair = [&](int i) {
    return static_cast<uint32_t>(to_half<kType>(four.values[i])) | static_cast<uint32_t>(to_half<kType>(four.values[i + 1])) << 16;
  };
  return {pair(0), pair(2)};
}

// Values at ... at + 3, zeros from `count` on. `whole`: rows of this tensor are multiples of four values, and aligned to these.
__device__ inline Four load_four(FloatIn from, int64_t at, int64_t count, bool whole) {
  if (whole && count >= 4) {
    if (from.type == FloatType::kF32) {
      const float4 v = *reinterpret_cast<const float4*>(static_cast<const float*>(from.data) + at);
      return {{v.x, v.y, v.z, v.w}};
    }
    const uint2 pairs = *reinterpret_cast<const uint2*>(static_cast<const uint16_t*>(from.data) + at);
    return from.type == FloatType::kF16 ? widen<FloatType::kF16>(pairs) : widen<FloatType::kBf16>(pairs);
  }
  Four four = {};
  for (int i = 0; i < 4; ++i) {
    if (i < count) four.values[i] = load_one(from, at + i);
  }
  return four;
}

__device__ inline void store_four(FloatOut to, int64_t at, int64_t count, bool whole, const Four& four) {
  if (whole && count >= 4) {
    if (to.type == FloatType::kF32) {
      const float* v = four.values;
      *reinterpret_cast<float4*>(static_cast<float*>(to.data) + at) = {v[0], v[1], v[2], v[3]};
    } else {
      auto* pairs = reinterpret_cast<uint2*>(static_cast<uint16_t*>(to.data) + at);
      *pairs = to.type == FloatType::kF16 ? narrow<FloatType::kF16>(four) : narrow<FloatType::kBf16>(four);
    }
    return;
  }
  for (int i = 0; i < 4; ++i) {
    if (i < count) store_one(to, at + i, four.values[i]);
  }
}

// Whether four values can be read or written at once in all rows of a tensor.
inline bool in_fours(const void* data, int64_t row) { return row % 4 == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0; }

}  // namespace qc::cuda
