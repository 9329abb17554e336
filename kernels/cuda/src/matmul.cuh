// The kernels that products are made of; matmul.cu chooses.
#pragma once
#include <type_traits>

#include "core/matmul.h"
#include "device/cuda.cuh"

namespace qc::cuda {

// For few rows.
void decode_codes_matmul(const ClusterMatMul& product, cudaStream_t stream);
// Rows of f16 or bf16 that are whole steps, zeros from K on, and aligned to 16 bytes.
struct HalfRows {
  const uint16_t* data;
  int64_t pitch;  // values
  int64_t count;
};
// For few rows.
void decode_halves_matmul(const WeightMatMul& product, const HalfRows& x, cudaStream_t stream);
// For any number of rows.
void prefill_codes_matmul(const ClusterMatMul& product, cudaStream_t stream);
// For any number of rows.
void prefill_halves_matmul(const WeightMatMul& product, const HalfRows& x, cudaStream_t stream);
// For rows of f32.
void float_matmul(const WeightMatMul& product, cudaStream_t stream);

// Calls f with the number of bits as a type.
template <class F>
void for_bits(int bits, const F& f) {
  if (bits == 8) f(std::integral_constant<int, 8>());
  if (bits == 4) f(std::integral_constant<int, 4>());
  if (bits == 3) f(std::integral_constant<int, 3>());
}

// Calls f with the number of bits, 4 or 3, and the type, f16 or bf16, as types.
template <class F>
void for_halves(int bits, FloatType type, const F& f) {
  const auto with_bits = [&](auto of_type) {
    bits == 4 ? f(std::integral_constant<int, 4>(), of_type) : f(std::integral_constant<int, 3>(), of_type);
  };
  type == FloatType::kF16 ? with_bits(std::integral_constant<FloatType, FloatType::kF16>())
                          : with_bits(std::integral_constant<FloatType, FloatType::kBf16>());
}

}  // namespace qc::cuda
