// Which kernels a product runs on.
#include "matmul.cuh"

#include "core/layout.h"
#include "decode.cuh"
#include "launch.h"
#include "scratch.h"

namespace qc::cuda {
namespace {

struct Padding {
  const uint16_t* x;  // [rows, channels]
  int64_t rows;
  int64_t channels;
  int64_t pitch;  // values
  uint16_t* y;    // [rows, pitch], zeros from `channels` on
};

constexpr int kPaddingThreads = 256;

__global__ void __launch_bounds__(kPaddingThreads) pad_rows(const __grid_constant__ Padding p) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kPaddingThreads + threadIdx.x;
  if (at >= p.rows * p.pitch) return;
  const int64_t row = at / p.pitch, channel = at % p.pitch;
  p.y[at] = channel < p.channels ? p.x[row * p.channels + channel] : uint16_t{0};
}

void multiply(const WeightMatMul& product, const HalfRows& x, cudaStream_t stream) {
  product.rows <= kDecodeRows ? decode_halves_matmul(product, x, stream) : prefill_halves_matmul(product, x, stream);
}

void halves_matmul(const WeightMatMul& product, cudaStream_t stream) {
  const int64_t channels = product.weight.clusters.channels(), pitch = steps_of(channels) * kStep;
  const auto* x = static_cast<const uint16_t*>(product.x.data);
  if (channels == pitch && reinterpret_cast<uintptr_t>(x) % 16 == 0) return multiply(product, {x, pitch, product.rows}, stream);
  const Scratch padded(static_cast<size_t>(product.rows * pitch) * sizeof(uint16_t), stream);
  const Padding padding = {x, product.rows, channels, pitch, padded.as<uint16_t>()};
  launch(pad_rows, {dim3(divide_up(product.rows * pitch, kPaddingThreads)), kPaddingThreads}, stream, padding);
  multiply(product, {padded.as<uint16_t>(), pitch, product.rows}, stream);
}

}  // namespace

void cluster_matmul(const ClusterMatMul& product, Queue queue) {
  if (product.rows == 0 || product.weight.columns == 0) return;
  product.rows <= kDecodeRows ? decode_codes_matmul(product, queue.stream) : prefill_codes_matmul(product, queue.stream);
}

void weight_matmul(const WeightMatMul& product, Queue queue) {
  if (product.rows == 0 || product.weight.columns == 0) return;
  product.x.type == FloatType::kF32 ? float_matmul(product, queue.stream) : halves_matmul(product, queue.stream);
}

}  // namespace qc::cuda
