// Int4MatMul and Int3MatMul of f32, which tensor cores have no product for: a lane has a column and adds up in the order of the CPU, to the
// same bits. Meant for parity and for models that stay in f32, not for speed.
#include "matmul.cuh"
#include "product.cuh"

namespace qc::cuda {
namespace {

constexpr int kWarps = 8;

struct Problem {
  DeviceWeight weight;
  const float* x;  // [rows, K]
  FloatIn bias;
  FloatOut y;
  int64_t channels;
  int64_t rows;
};

// The sum over a step of x (w - zero), going on from `sum`. `words` are those of one column, 64 bytes apart.
template <int kBits>
__device__ float add_step(const uint8_t* words, const float* x, int64_t channels, float zero, float sum) {
#pragma unroll
  for (int t = 0; t < 4; ++t) {
    uint32_t of_column[Quads<kBits>::kWords], quads[2];
#pragma unroll
    for (int i = 0; i < Quads<kBits>::kWords; ++i) {
      of_column[i] = *reinterpret_cast<const uint32_t*>(words + Quads<kBits>::word(t, i) * 4 * kTile);
    }
    Quads<kBits>::unpack(of_column, t, quads[0], quads[1]);
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      const float code = static_cast<float>(quads[k / 4] >> (8 * (k % 4)) & 0xFF);
      sum = fmaf(8 * t + k < channels ? x[8 * t + k] : 0.0f, code - zero, sum);
    }
  }
  return sum;
}

// Warps have rows, lanes have columns.
template <int kBits>
__global__ void __launch_bounds__(kWarps * 32) multiply_floats(const __grid_constant__ Problem problem) {
  const DeviceWeight& weight = problem.weight;
  const int64_t row = static_cast<int64_t>(blockIdx.y) * kWarps + threadIdx.x / 32;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * 32 + threadIdx.x % 32;
  if (row >= problem.rows || column >= weight.columns) return;
  const int64_t step_bytes = kBits * 4 * kTile;
  const uint8_t* words = weight.packed + column / kTile * weight.steps * step_bytes + column % kTile * 4;
  const float* x = problem.x + row * problem.channels;
  float total = 0;
  for (int step = 0, cluster = 0; step < weight.steps; ++cluster) {
    const int64_t at = cluster * weight.columns + column;
    const auto zero = static_cast<float>((weight.zero ? weight.zero[at] : 0) + (1 << (kBits - 1)));
    float sum = 0;
    for (; step < weight.ends[cluster]; ++step) {
      sum = add_step<kBits>(words + step * step_bytes, x + step * kStep, problem.channels - step * kStep, zero, sum);
    }
    total = fmaf(sum, weight.scale[at], total);
  }
  const float bias = problem.bias.data ? load_one(problem.bias, column) : 0.0f;
  store_one(problem.y, row * weight.columns + column, total + bias);
}

}  // namespace

void float_matmul(const WeightMatMul& product, cudaStream_t stream) {
  const Weight& weight = product.weight;
  const Problem problem = {device_weight(weight),     static_cast<const float*>(product.x.data), product.bias, product.y,
                           weight.clusters.channels(), product.rows};
  // Rows are put on the second axis of the grid, which has 65535 places.
  constexpr int64_t kRowsOfLaunch = 65535 * kWarps;
  for (int64_t row = 0; row < product.rows; row += kRowsOfLaunch) {
    Problem part = problem;
    part.rows = product.rows - row < kRowsOfLaunch ? product.rows - row : kRowsOfLaunch;
    part.x += row * problem.channels;
    part.y.data = static_cast<uint8_t*>(problem.y.data) + row * weight.columns * static_cast<int64_t>(sizeof(float));
    const Shape shape = {dim3(divide_up(weight.columns, 32), divide_up(part.rows, kWarps)), kWarps * 32};
    weight.bits == 4 ? launch(multiply_floats<4>, shape, stream, part) : launch(multiply_floats<3>, shape, stream, part);
  }
}

}  // namespace qc::cuda
